//! The slowest items, by stage: of each minute for its traces, of each of the last 24 hours for whoever asks.
//!
//! An item is among the slowest if it took 2 % longer than the least slow of them, so that a backlog that grows, where each
//! item is slower than all before, costs a few accounts and not one an item.

use std::collections::VecDeque;
use std::sync::Arc;

use baton_telemetry::stage::Stage;

use crate::account::{Account, Attempt};

/// Items a stage and minute, and a stage and hour: enough to look at, research on Canopy and Refinery keeps no more.
const SLOWEST_MAX: usize = 16;
const MINUTE_NS: u64 = 60 * 1_000_000_000;
const HOURS_KEPT: u64 = 24;
/// The one that began so long ago counts as well.
const HOURS_MAX: usize = 25;
const MINUTES_AN_HOUR: u64 = 60;

/// The traces of a minute leave at this distance: all of them within the next one, and none at the expense of what others
/// have at that moment.
const SPREAD_NS: u64 = MINUTE_NS / (WATCHED * SLOWEST_MAX) as u64;

/// The stages whose slowest items are kept.
pub(crate) const WATCHED: usize = 9;

/// How long each watched stage took an item, by [`Stage::index`]: the parts, and the total.
pub(crate) type Times = [u64; WATCHED];

impl Account {
    /// How long each watched stage took, all attempts together.
    pub(crate) fn times(&self, now: u64) -> Times {
        let mut times = Times::default();
        for part in self.parts(now) {
            let sum = &mut times[part.stage.index()];
            *sum = sum.saturating_add(part.ns());
        }
        times[Stage::Total.index()] = self.total(now).0;
        times
    }
}

/// An item, and whether it has a trace by now.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) account: Arc<Account>,
    pub(crate) traced: bool,
}

#[derive(Debug, Default)]
struct Top {
    entries: Vec<(u64, Entry)>,
}

impl Top {
    fn offer(&mut self, ns: u64, entry: Entry) {
        if self.entries.len() == SLOWEST_MAX {
            let least = self
                .entries
                .iter()
                .enumerate()
                .min_by_key(|(_, (ns, _))| *ns);
            let Some((index, _)) = least.filter(|(_, (least, _))| *least < ns) else {
                return;
            };
            self.entries.swap_remove(index);
        }
        self.entries.push((ns, entry));
    }

    /// An item has to take longer to be offered.
    fn floor(&self) -> u64 {
        if self.entries.len() < SLOWEST_MAX {
            return 0;
        }
        let least = self.entries.iter().map(|(ns, _)| *ns).min().unwrap_or(0);
        least.saturating_add(least / 50)
    }
}

type Tops = [Top; WATCHED];

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Slowest {
    minute: u64,
    tops: Tops,
    floors: Times,
    hours: VecDeque<(u64, Tops)>,
    /// Of the minute before, without a trace so far; and when the next one of them is offered one.
    untraced: VecDeque<Arc<Account>>,
    next_at: u64,
    /// Of this minute.
    entries: usize,
    /// Of the hours, with those in them.
    hours_bytes: usize,
}

impl Slowest {
    /// Whether an item that took so long has to be offered.
    pub(crate) fn wants(&self, times: &Times) -> bool {
        times.iter().zip(&self.floors).any(|(ns, floor)| ns > floor)
    }

    pub(crate) fn offer(&mut self, times: &Times, entry: &Entry) {
        for (index, ns) in times.iter().enumerate() {
            if *ns > self.floors[index] {
                let top = &mut self.tops[index];
                let before = top.entries.len();
                top.offer(*ns, entry.clone());
                self.entries += top.entries.len() - before;
                self.floors[index] = top.floor();
            }
        }
    }

    /// The next one of the slowest items of the minute before that has no trace yet, if it is time for one. Closes the
    /// minute if it is over.
    pub(crate) fn next_untraced(&mut self, now: u64) -> Option<Arc<Account>> {
        loop {
            let over = now / MINUTE_NS != self.minute;
            if (over || now >= self.next_at)
                && let Some(account) = self.untraced.pop_front()
            {
                self.next_at = self.next_at.saturating_add(SPREAD_NS);
                return Some(account);
            }
            if !over {
                return None;
            }
            self.close_minute(now);
        }
    }

    fn close_minute(&mut self, now: u64) {
        let hour = self.minute / MINUTES_AN_HOUR;
        self.minute = now / MINUTE_NS;
        self.entries = 0;
        self.floors = Times::default();
        let tops = std::mem::take(&mut self.tops);
        // Those of the minute before were all offered by now.
        self.untraced = untraced(&tops);
        self.next_at = now;
        if tops.iter().any(|top| !top.entries.is_empty()) {
            self.keep_for_the_hour(hour, tops);
        }
        self.forget_before(now);
    }

    fn keep_for_the_hour(&mut self, hour: u64, tops: Tops) {
        if self.hours.back().is_none_or(|(last, _)| *last != hour) {
            self.hours.push_back((hour, Tops::default()));
        }
        let (_, kept) = self.hours.back_mut().expect("it was just put there");
        for (kept, top) in kept.iter_mut().zip(tops) {
            for (ns, entry) in top.entries {
                kept.offer(ns, entry);
            }
        }
        self.count();
    }

    /// Forgets the hours that are more than a day old.
    pub(crate) fn forget_before(&mut self, now: u64) {
        let hour = (now / MINUTE_NS / MINUTES_AN_HOUR).saturating_sub(HOURS_KEPT);
        while self.hours.pop_front_if(|(kept, _)| *kept < hour).is_some() {}
        // A clock that was set back leaves hours that are over for longer.
        while self.hours.len() > HOURS_MAX {
            self.hours.pop_front();
        }
        self.count();
    }

    fn count(&mut self) {
        let entries = self.hours.iter().flat_map(|(_, tops)| tops);
        let entries = entries.flat_map(|top| &top.entries);
        // An account that is in several lists counts in each of them by its share.
        let shares = entries.map(|(_, entry)| {
            let lists = Arc::strong_count(&entry.account);
            size_of::<(u64, Entry)>() + entry.account.bytes() / lists
        });
        let hours = self.hours.capacity() * size_of::<(u64, Tops)>();
        self.hours_bytes = hours + shares.sum::<usize>();
    }

    /// Of those that ended since `after`, the slowest first. At most 16 of each hour are known.
    pub(crate) fn of(&self, stage: Stage, after: u64, max: usize) -> Vec<(u64, Arc<Account>)> {
        let Some(index) = (stage.index() < WATCHED).then_some(stage.index()) else {
            return Vec::new();
        };
        let tops = self.hours.iter().map(|(_, tops)| tops).chain([&self.tops]);
        let entries = tops.flat_map(|tops| &tops[index].entries);
        let ended = |account: &Account| account.end.is_some_and(|end| end.at >= after);
        let mut found: Vec<_> = entries
            .filter(|(_, entry)| ended(&entry.account))
            .map(|(ns, entry)| (*ns, Arc::clone(&entry.account)))
            .collect();
        found.sort_by_key(|(ns, account)| (std::cmp::Reverse(*ns), account.item));
        found.truncate(max);
        found
    }

    pub(crate) fn find(&self, item: u64) -> Option<&Arc<Account>> {
        let tops = self.hours.iter().map(|(_, tops)| tops).chain([&self.tops]);
        let mut entries = tops.flatten().flat_map(|top| &top.entries);
        entries
            .find(|(_, entry)| entry.account.item == item)
            .map(|(_, entry)| &entry.account)
    }

    /// Forgets the oldest hour, else the minute; how many entries that were.
    pub(crate) fn shrink(&mut self) -> u64 {
        let dropped = match self.hours.pop_front() {
            Some((_, tops)) => tops.iter().map(|top| top.entries.len()).sum(),
            None => {
                (self.tops, self.floors) = (Tops::default(), Times::default());
                (self.hours, self.untraced) = (VecDeque::new(), VecDeque::new());
                std::mem::take(&mut self.entries)
            }
        };
        self.count();
        dropped as u64
    }

    /// Memory, bytes.
    pub(crate) fn bytes(&self) -> usize {
        // Most are in several lists at once.
        const ENTRY_BYTES: usize = size_of::<(u64, Entry)>() + ACCOUNT_BYTES / 3;
        // These may be in no list any more.
        let untraced = self.untraced.capacity() * (size_of::<Arc<Account>>() + ACCOUNT_BYTES);
        self.hours_bytes + self.entries * ENTRY_BYTES + untraced
    }
}

/// What an account takes with its usual attempt.
const ACCOUNT_BYTES: usize = size_of::<Account>() + size_of::<Attempt>() + 16;

fn untraced(tops: &Tops) -> VecDeque<Arc<Account>> {
    let entries = tops.iter().flat_map(|top| &top.entries);
    let untraced = entries.filter(|(_, entry)| !entry.traced);
    let mut found: Vec<_> = untraced
        .map(|(_, entry)| Arc::clone(&entry.account))
        .collect();
    found.sort_by_key(|account| account.item);
    found.dedup_by_key(|account| account.item);
    found.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{End, Outcome};

    fn entry(item: u64) -> Entry {
        let account = Account {
            item,
            queue: "".into(),
            context: None,
            before_redrive: None,
            producer: None,
            created: None,
            received: 0,
            durable: None,
            restarted: None,
            attempts: Vec::new(),
            end: Some(End {
                outcome: Outcome::Acked,
                at: item,
            }),
        };
        Entry {
            account: Arc::new(account),
            traced: false,
        }
    }

    /// Accounts that are made for items with these total times.
    fn made(times: impl Iterator<Item = u64>) -> usize {
        let mut slowest = Slowest::default();
        let offered = (1..).zip(times).filter(|(item, ns)| {
            let mut times = Times::default();
            times[Stage::Total.index()] = *ns;
            let wanted = slowest.wants(&times);
            if wanted {
                slowest.offer(&times, &entry(*item));
            }
            wanted
        });
        offered.count()
    }

    #[test]
    fn growing_latencies_make_few_accounts() {
        // Each a microsecond slower than the one before, up to a second: some 16 at each of 580 steps of 2 %.
        let growing = made((1..=1_000_000).map(|step| step * 1000));
        assert!(growing < 580 * SLOWEST_MAX, "{growing}");
        assert_eq!(made((1..=1_000_000).map(|_| 1000)), SLOWEST_MAX);
        let falling = made((1..=1_000_000).rev().map(|step| step * 1000));
        assert_eq!(falling, SLOWEST_MAX);
    }

    #[test]
    fn a_faster_item_never_takes_the_place_of_a_slower_one() {
        let mut top = Top::default();
        for ns in [5, 9, 1, 7].into_iter().cycle().take(64) {
            top.offer(ns, entry(ns));
        }
        let least = top.entries.iter().map(|(ns, _)| *ns).min();
        assert_eq!((top.entries.len(), least), (SLOWEST_MAX, Some(9)));
    }
}
