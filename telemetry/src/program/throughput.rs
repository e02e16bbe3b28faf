//! How much was done in how long: the first words of every summary.

use std::fmt;
use std::time::Duration;

/// What took less says nothing about a rate.
const WORTH_A_RATE: Duration = Duration::from_millis(100);

/// Items and the time they took together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throughput {
    /// How many.
    pub items: u64,
    /// From the start to the last of them; zero where nothing began.
    pub elapsed: Duration,
}

impl Throughput {
    /// Items a second; 0 where no time passed.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn items_per_second(self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 {
            self.items as f64 / seconds
        } else {
            0.0
        }
    }
}

impl fmt::Display for Throughput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.items == 1 { "item" } else { "items" };
        write!(f, "{} {noun}", self.items)?;
        if self.elapsed.is_zero() {
            return Ok(());
        }
        if self.elapsed < WORTH_A_RATE {
            // Rounded up: some time it took.
            let milliseconds = self.elapsed.as_nanos().div_ceil(1_000_000);
            return write!(f, ", {milliseconds} ms");
        }
        let (seconds, rate) = (self.elapsed.as_secs_f64(), self.items_per_second());
        let seconds_decimals = if seconds < 1.0 {
            2
        } else {
            usize::from(seconds < 10.0)
        };
        write!(f, ", {seconds:.seconds_decimals$} s")?;
        if self.items == 0 {
            return Ok(());
        }
        let rate_decimals = usize::from(rate < 100.0);
        write!(f, ", {rate:.rate_decimals$} items/s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throughput_reads_as_a_person_would_say_it() {
        for (items, elapsed_ms, wanted) in [
            (40, 22_000, "40 items, 22 s, 1.8 items/s"),
            (1, 420, "1 item, 0.42 s, 2.4 items/s"),
            (100_000, 2_500, "100000 items, 2.5 s, 40000 items/s"),
            (50, 100, "50 items, 0.10 s, 500 items/s"),
            (5, 17, "5 items, 17 ms"),
            (0, 2_000, "0 items, 2.0 s"),
            (0, 0, "0 items"),
        ] {
            let elapsed = Duration::from_millis(elapsed_ms);
            assert_eq!(Throughput { items, elapsed }.to_string(), wanted);
        }
        let elapsed = Duration::from_micros(16);
        assert_eq!(
            Throughput { items: 3, elapsed }.to_string(),
            "3 items, 1 ms"
        );
    }
}
