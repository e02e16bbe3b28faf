//! The streams that are open now, and what is known of the clocks at their other ends.
//!
//! A client's entry is there as long as its [`Connected`] lives. Filled by `rpc`, read by whoever asks about clients.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use baton_ledger::party::Party;
use baton_telemetry::clock_offset::DRIFT_PPM;

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It publishes.
    Producer,
    /// It consumes.
    Consumer,
}

/// How far apart two clocks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// Added to the client's stamps it gives the broker's, nanoseconds.
    pub offset_ns: i64,
    /// It is right to this, either way.
    pub error_ns: u64,
}

/// An open stream.
#[derive(Debug)]
pub struct Client {
    /// Who it is.
    pub party: Arc<Party>,
    /// Of its library.
    pub version: String,
    /// Which queue.
    pub queue: String,
    /// What it does.
    pub role: Role,
    /// When it began: nanoseconds of CLOCK_MONOTONIC.
    pub since_ns: u64,
    /// It reads the broker's own clock.
    pub same_clock: bool,
    /// Of another clock, and until when it was known to hold: nanoseconds of CLOCK_MONOTONIC.
    estimate: Mutex<Option<(ClockOffset, u64)>>,
}

impl Client {
    /// Of a stream that begins.
    #[must_use]
    pub fn new(
        (party, version): (Arc<Party>, String),
        (queue, role): (String, Role),
        (since_ns, same_clock): (u64, bool),
    ) -> Self {
        Self {
            party,
            version,
            queue,
            role,
            since_ns,
            same_clock,
            estimate: Mutex::default(),
        }
    }

    /// How its clock compares at `now_ns` of CLOCK_MONOTONIC: less sharply the longer it has been silent, since clocks
    /// drift. None: not known yet.
    #[must_use]
    pub fn clock(&self, now_ns: u64) -> Option<ClockOffset> {
        if self.same_clock {
            return Some(ClockOffset {
                offset_ns: 0,
                error_ns: 0,
            });
        }
        let (held, held_ns) = (*self.lock())?;
        let drift_ns = drift_ns(now_ns.saturating_sub(held_ns));
        Some(ClockOffset {
            error_ns: held.error_ns.saturating_add(drift_ns),
            ..held
        })
    }

    /// Notes how its clock compares, which is known to hold at `now_ns` of CLOCK_MONOTONIC.
    pub fn set_clock(&self, clock: ClockOffset, now_ns: u64) {
        *self.lock() = Some((clock, now_ns));
    }

    fn lock(&self) -> MutexGuard<'_, Option<(ClockOffset, u64)>> {
        self.estimate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far two clocks may have drifted apart within so many nanoseconds, rounded up.
const fn drift_ns(silence_ns: u64) -> u64 {
    let silence_us = silence_ns / 1000 + 1;
    silence_us.saturating_mul(DRIFT_PPM).div_ceil(1000)
}

/// See the module.
#[derive(Debug, Default)]
pub struct Clients {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    clients: BTreeMap<u64, Arc<Client>>,
}

/// A stream's entry.
#[derive(Debug)]
pub struct Connected {
    all: Arc<Clients>,
    number: u64,
    client: Arc<Client>,
}

impl Clients {
    /// A stream begins.
    #[must_use]
    pub fn enter(self: &Arc<Self>, client: Client) -> Connected {
        let client = Arc::new(client);
        let mut open = self.lock();
        open.next += 1;
        let number = open.next;
        open.clients.insert(number, Arc::clone(&client));
        Connected {
            all: Arc::clone(self),
            number,
            client,
        }
    }

    /// Up to `max` of them, the oldest first.
    #[must_use]
    pub fn list(&self, max: usize) -> Vec<Arc<Client>> {
        self.lock().clients.values().take(max).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected {
    /// Whose it is.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.all.lock().clients.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_listed_while_its_stream_is_open() {
        let clients = Arc::new(Clients::default());
        let enter = |same_clock| {
            let party = Arc::new(Party::named("c"));
            let queue = ("q".to_owned(), Role::Consumer);
            clients.enter(Client::new((party, String::new()), queue, (5, same_clock)))
        };
        let (same, other) = (enter(true), enter(false));
        let exact = ClockOffset {
            offset_ns: 0,
            error_ns: 0,
        };
        assert_eq!(same.client().clock(1 << 40), Some(exact));
        assert_eq!(other.client().clock(5), None);
        let known = ClockOffset {
            offset_ns: -7,
            error_ns: 3,
        };
        other.client().set_clock(known, 5);
        drop(same);
        let left = clients.list(10);
        assert_eq!(left.len(), 1);
        let silent = |ns: u64| left[0].clock(5 + ns).unwrap();
        assert_eq!(silent(1_000_000_000).offset_ns, known.offset_ns);
        // 100 us in a second, and the first microsecond.
        assert_eq!(silent(1_000_000_000).error_ns, 3 + 100_001);
        assert_eq!(silent(0).error_ns, 3 + 1);
    }
}
