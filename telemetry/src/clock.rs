//! The clocks of this process: `CLOCK_MONOTONIC` for stages, a wall clock that never goes back for people.
//!
//! Invariants: every stamp that leaves a process is `CLOCK_MONOTONIC` nanoseconds, and two stamps are subtracted only
//! where their [`ClockDomain`]s are known to be equal. Called by the client library and the broker.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Since boot: neither part is ever negative, and 2^64 ns are 584 years.
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Which `CLOCK_MONOTONIC` a process reads. Processes with equal known domains read the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClockDomain {
    /// Of the running kernel; empty where it cannot be read.
    pub boot_id: String,
    /// Inode of the process's time namespace, which may shift the clock; 0 where it cannot be read.
    pub time_namespace: u64,
}

impl ClockDomain {
    /// The domain of this process.
    #[must_use]
    pub fn current() -> Self {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            boot_id: boot_id.trim().to_owned(),
            time_namespace: fs::metadata("/proc/self/ns/time").map_or(0, |file| file.ino()),
        }
    }

    /// Whether stamps of both can be subtracted as they are. An unknown domain is never the same as another.
    #[must_use]
    pub fn is_same_clock(&self, other: &Self) -> bool {
        !self.boot_id.is_empty() && self.time_namespace != 0 && self == other
    }
}

/// Wall clock time, read once and carried on by `CLOCK_MONOTONIC`: it never goes back, whatever is done to the
/// system's clock. A step of the system's clock is therefore seen only by the next process.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    wall_ns: u64,
    monotonic_ns: u64,
}

impl WallClock {
    /// Anchors the wall clock as it stands now.
    #[must_use]
    pub fn new() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self::anchored(
            u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX),
            monotonic_ns(),
        )
    }

    /// A clock that showed `wall_ns` since the epoch when `CLOCK_MONOTONIC` showed `monotonic_ns`.
    #[must_use]
    pub const fn anchored(wall_ns: u64, monotonic_ns: u64) -> Self {
        Self {
            wall_ns,
            monotonic_ns,
        }
    }

    /// What the wall clock is ahead of `CLOCK_MONOTONIC`, modulo 2^64.
    #[must_use]
    pub const fn shift_ns(&self) -> u64 {
        self.wall_ns.wrapping_sub(self.monotonic_ns)
    }

    /// Nanoseconds since the epoch, now.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.at_ns(monotonic_ns())
    }

    /// Nanoseconds since the epoch when `CLOCK_MONOTONIC` showed `monotonic_ns`; times before the anchor too.
    #[must_use]
    pub const fn at_ns(&self, monotonic_ns: u64) -> u64 {
        if monotonic_ns >= self.monotonic_ns {
            self.wall_ns
                .saturating_add(monotonic_ns - self.monotonic_ns)
        } else {
            self.wall_ns
                .saturating_sub(self.monotonic_ns - monotonic_ns)
        }
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_clock_moves_forward_only() {
        let stamps: Vec<u64> = (0..1000).map(|_| monotonic_ns()).collect();
        assert!(stamps.is_sorted());
        assert!(stamps[0] < stamps[999]);
    }

    #[test]
    fn a_process_shares_a_clock_with_itself() {
        let here = ClockDomain::current();
        assert_eq!(here.boot_id.trim(), here.boot_id);
        assert!(!here.boot_id.is_empty() && here.is_same_clock(&ClockDomain::current()));
    }

    #[test]
    fn unknown_or_shifted_domains_share_no_clock() {
        let unknown = ClockDomain::default();
        assert!(!unknown.is_same_clock(&unknown));
        let here = ClockDomain {
            boot_id: "a".into(),
            time_namespace: 1,
        };
        let shifted = ClockDomain {
            time_namespace: 2,
            ..here.clone()
        };
        let unsaid = ClockDomain {
            time_namespace: 0,
            ..here.clone()
        };
        assert!(!here.is_same_clock(&shifted) && !unsaid.is_same_clock(&unsaid));
    }

    #[test]
    fn wall_clock_follows_the_monotonic_one() {
        let clock = WallClock::anchored(1_000, 50);
        assert_eq!(
            [clock.at_ns(50), clock.at_ns(75), clock.at_ns(40)],
            [1_000, 1_025, 990]
        );
        assert_eq!(
            [clock.at_ns(0), WallClock::anchored(10, 50).at_ns(0)],
            [950, 0]
        );
    }

    #[test]
    fn wall_clock_shows_todays_time() {
        let clock = WallClock::new();
        let system = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos();
        let apart = system.abs_diff(u128::from(clock.now_ns()));
        assert!(apart < 1_000_000_000, "{apart} ns apart");
    }
}
