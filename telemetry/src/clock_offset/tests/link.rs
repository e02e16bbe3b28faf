//! A simulated connection whose true offset is known at any time.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{MICRO, MILLI, SECOND};
use crate::clock_offset::{BrokerClock, DownLeg, Estimator, Reading};

/// Where the broker's clock stands in the beginning.
const START_NS: u64 = 1_000_000 * SECOND;

/// Shorter than any step of a clock in the tests, which could not be told from it otherwise.
const LONGEST_JITTER_NS: f64 = 100e6;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delay {
    pub(super) shortest_ns: u64,
    /// Its scale; the tail is heavy.
    pub(super) jitter_ns: u64,
}

impl Delay {
    fn draw(self, random: &mut SmallRng) -> u64 {
        let tail = random.random_range(1e-6..1.0_f64).powf(-0.7) - 1.0;
        self.shortest_ns + (self.jitter_ns as f64 * tail).min(LONGEST_JITTER_NS) as u64
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Traffic {
    /// A ping per 5 s.
    #[default]
    Idle,
    /// A message per millisecond or so.
    Steady,
    /// Either, in turns.
    Bursts,
}

impl Traffic {
    fn pause_ns(self, number: u64, random: &mut SmallRng) -> u64 {
        let is_idle = match self {
            Self::Idle => true,
            Self::Steady => false,
            Self::Bursts => number % 300 > 270,
        };
        if is_idle {
            5 * SECOND
        } else {
            random.random_range(10 * MICRO..2 * MILLI)
        }
    }

    fn messages(self) -> u64 {
        if self == Self::Idle { 200 } else { 1_200 }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    pub(super) seed: u64,
    pub(super) up: Delay,
    pub(super) down: Delay,
    pub(super) traffic: Traffic,
    /// By which the offset changes at once, after half of the time.
    pub(super) step_ns: i64,
}

/// The true offset: straight lines, of at most 100 ppm.
struct Truth {
    /// From when, offset then, slope in ppb.
    lines: Vec<(u64, i128, i128)>,
    step_at_ns: u64,
    step_ns: i64,
}

impl Truth {
    fn new(link: &Link, until_ns: u64, random: &mut SmallRng) -> Self {
        let mut offset_ns = i128::from(random.random_range(-100_000..100_000_i64)) * 7_654_321_987;
        let mut lines = Vec::new();
        let mut from_ns = START_NS;
        while from_ns < until_ns {
            // The extremes are the interesting ones.
            let slope = [-100_000, 100_000, random.random_range(-100_000..=100_000)];
            let slope = i128::from(slope[random.random_range(0..3_usize)]);
            lines.push((from_ns, offset_ns, slope));
            let length_ns = random.random_range(MILLI..(until_ns - START_NS) / 5);
            offset_ns += i128::from(length_ns) * slope / 1_000_000_000;
            from_ns += length_ns;
        }
        let step_at_ns = START_NS + (until_ns - 10 * SECOND - START_NS) / 2;
        Self {
            lines,
            step_at_ns,
            step_ns: link.step_ns,
        }
    }

    fn offset_ns(&self, now_ns: u64) -> i128 {
        let line = self
            .lines
            .partition_point(|(from_ns, ..)| *from_ns <= now_ns)
            - 1;
        let (from_ns, offset_ns, slope) = self.lines[line];
        let step_ns = if now_ns < self.step_at_ns {
            0
        } else {
            self.step_ns
        };
        offset_ns + i128::from(now_ns - from_ns) * slope / 1_000_000_000 + i128::from(step_ns)
    }

    fn client_ns(&self, now_ns: u64) -> u64 {
        u64::try_from(i128::from(now_ns) - self.offset_ns(now_ns)).unwrap()
    }
}

impl Link {
    /// When each message of one direction was sent and received, on the broker's clock, in order.
    fn messages(&self, delay: Delay, random: &mut SmallRng) -> Vec<(u64, u64)> {
        let mut sent_ns = START_NS;
        let mut received_ns = START_NS;
        let mut messages = Vec::new();
        for number in 0..self.traffic.messages() {
            sent_ns += self.traffic.pause_ns(number, random);
            received_ns = received_ns.max(sent_ns + delay.draw(random));
            messages.push((sent_ns, received_ns));
        }
        messages
    }

    /// Readings at some times, beginning with the first that there is.
    pub(super) fn run(&self) -> Vec<Moment> {
        let random = &mut SmallRng::seed_from_u64(self.seed);
        let ups = self.messages(self.up, random);
        let downs = self.messages(self.down, random);
        let until_ns = ups.last().unwrap().0.max(downs.last().unwrap().0) + 10 * SECOND;
        let truth = Truth::new(self, until_ns, random);
        let mut moments = Vec::new();
        let mut estimator = Estimator::new();
        let mut best = Best::default();
        let mut leg = DownLeg::new();
        let mut since_ns = START_NS;
        let mut reported_ns = START_NS;
        let mut coming = downs.into_iter().peekable();
        for (number, (sent_ns, received_ns)) in ups.iter().copied().enumerate() {
            let mut shortest_ns = u64::MAX;
            while let Some((sent_ns, received_ns)) = coming.next_if(|down| down.1 <= sent_ns) {
                leg.received(sent_ns, truth.client_ns(received_ns));
                shortest_ns = shortest_ns.min(received_ns - sent_ns);
            }
            estimator.upstream(truth.client_ns(sent_ns), received_ns);
            best.ups.push((received_ns, sent_ns, received_ns - sent_ns));
            if let Some(leg_ns) = leg.take() {
                estimator.downstream_leg(leg_ns, received_ns, since_ns);
                best.downs
                    .push((received_ns, reported_ns - shortest_ns, shortest_ns));
                (since_ns, reported_ns) = (received_ns, sent_ns);
            }
            let next_ns = ups.get(number + 1).map_or(received_ns, |next| next.1);
            for now_ns in [received_ns, random.random_range(received_ns..=next_ns)] {
                let truth_ns = truth.offset_ns(now_ns);
                moments.extend(estimator.reading(now_ns).map(|reading| Moment {
                    reading,
                    truth_ns,
                    best_ns: best.error_ns(now_ns),
                }));
            }
        }
        moments
    }
}

impl Link {
    /// The client's own readings: each message up is a ping that is answered at once, among the messages that come down.
    pub(super) fn run_at_client(&self) -> Vec<Moment> {
        let random = &mut SmallRng::seed_from_u64(self.seed);
        let ups = self.messages(self.up, random);
        let downs = self.messages(self.down, random);
        let longest_ns = 2 * LONGEST_JITTER_NS as u64 + SECOND;
        let until_ns =
            ups.last().unwrap().0.max(downs.last().unwrap().0) + longest_ns + 10 * SECOND;
        let truth = Truth::new(self, until_ns, random);
        // When it came here, when the broker sent it, and of an answer when the ping was sent.
        let mut coming: Vec<(u64, u64, Option<u64>)> = Vec::new();
        coming.extend(
            downs
                .iter()
                .map(|(sent, received)| (*received, *sent, None)),
        );
        for (pinged_ns, sent_ns) in ups {
            let received_ns = sent_ns + self.down.draw(random);
            coming.push((received_ns, sent_ns, Some(pinged_ns)));
        }
        coming.sort_unstable();
        let mut clock = BrokerClock::new();
        let (mut up_ns, mut down_ns) = (u64::MAX, u64::MAX);
        let mut moments = Vec::new();
        for (received_ns, sent_ns, pinged_ns) in coming {
            let now_ns = truth.client_ns(received_ns);
            clock.received(sent_ns, now_ns);
            down_ns = down_ns.min(received_ns - sent_ns);
            if let Some(pinged_ns) = pinged_ns {
                clock.answered(truth.client_ns(pinged_ns), sent_ns, now_ns);
                up_ns = up_ns.min(sent_ns - pinged_ns);
            }
            for later_ns in [0, random.random_range(0..5 * SECOND)] {
                let at_ns = received_ns + later_ns;
                let reading = clock.reading(truth.client_ns(at_ns));
                moments.extend(reading.map(|reading| Moment {
                    reading,
                    truth_ns: truth.offset_ns(at_ns),
                    best_ns: (up_ns / 2).saturating_add(down_ns / 2),
                }));
            }
        }
        moments
    }
}

/// What the estimator said, and what is true.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) reading: Reading,
    pub(super) truth_ns: i128,
    /// The greatest error that it should claim, given what the fastest messages took.
    pub(super) best_ns: u64,
}

/// Of the messages or reports of each direction: when received, from when their age counts, how long on the way.
#[derive(Debug, Default)]
struct Best {
    ups: Vec<(u64, u64, u64)>,
    downs: Vec<(u64, u64, u64)>,
}

impl Best {
    /// Half of the smallest round trip of the window, with the drift that may have been and the one that is assumed.
    fn error_ns(&self, now_ns: u64) -> u64 {
        let shortest_ns = |side: &[(u64, u64, u64)]| {
            let newest_ns = side.last().map_or(0, |last| last.0);
            side.iter()
                .rev()
                .take(64)
                .filter(|(at_ns, ..)| newest_ns - at_ns <= 60 * SECOND)
                .map(|(_, from_ns, way_ns)| way_ns + (now_ns - from_ns) / 5_000)
                .min()
                .unwrap_or(0)
        };
        (shortest_ns(&self.ups) + shortest_ns(&self.downs)) / 2 + MICRO
    }
}
