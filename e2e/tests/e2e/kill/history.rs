//! What clients were told, in the order in which they were told it, and which of it contradicts a promise.
//!
//! Each call takes the lock once, so the order of calls is one that really was: if A is recorded before B, then A was told
//! before B was. Deliveries under way are no violation: a confirmed ack of attempt k forbids every later attempt whenever
//! it is seen, and no earlier one, which may have been waiting in a client since before.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use baton_client::{Durability, Receipt, Settled};

/// Of the queue; an attempt is a bit of a word here.
pub(crate) const ATTEMPTS_MAX: u32 = 5;

/// A payload: which producer's, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) producer: u32,
    pub(crate) number: u32,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.producer, self.number)
    }
}

/// A life of the broker, from 0: how often it was dead.
pub(crate) type Life = u64;

/// A delivery in a handler's hands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handed {
    pub(crate) identity: Identity,
    pub(crate) attempt: u32,
    /// It was leased in this life, or in one before.
    life: Life,
}

/// What a handler says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Ack,
    Retry,
    Reject,
    Extend,
}

#[derive(Debug, Default, Clone, Copy)]
struct Story {
    /// 0: not known.
    item: u64,
    confirmed: bool,
    /// Attempts that handlers got, as bits.
    handed: u8,
    ack_said: bool,
    reject_said: bool,
    /// Attempts whose ack or rejection was confirmed; 0: none.
    acked: u32,
    rejected: u32,
}

/// What became of it all.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) confirmed: u64,
    pub(crate) duplicates: u64,
    pub(crate) handed: u64,
    pub(crate) redelivered: u64,
    pub(crate) acked: u64,
    /// Settles with a lease of an earlier life; each was refused.
    pub(crate) stale: u64,
    pub(crate) lost: u64,
    pub(crate) dead: u64,
}

#[derive(Debug, Default)]
struct Book {
    life: Life,
    stories: HashMap<Identity, Story>,
    owners: HashMap<u64, Identity>,
    counts: Counts,
    violations: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Book>);

/// A dead letter as the broker lists it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dead {
    pub(crate) item: u64,
    pub(crate) attempts: u32,
    pub(crate) rejected: bool,
}

impl History {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("nobody panics with it")
    }

    /// The process is gone: every lease of it is.
    pub(crate) fn broker_died(&self) {
        self.book().life += 1;
    }

    pub(crate) fn publishing(&self, identity: Identity) {
        self.book().stories.insert(identity, Story::default());
    }

    pub(crate) fn confirmed(&self, identity: Identity, receipt: Receipt) {
        let mut book = self.book();
        if receipt.durability != Durability::Fsynced {
            book.violate(format!("{identity} was confirmed as {receipt:?}"));
        }
        // A repeat whose first sending is forgotten has no id.
        if receipt.item_id != 0 {
            book.is_item(identity, receipt.item_id);
        }
        book.counts.confirmed += 1;
        book.counts.duplicates += u64::from(receipt.duplicate);
        book.story(identity).confirmed = true;
    }

    /// A handler gets it.
    pub(crate) fn handed(&self, identity: Identity, item: u64, attempt: u32) -> Handed {
        let mut book = self.book();
        book.is_item(identity, item);
        let story = *book.story(identity);
        if attempt == 0 || attempt > ATTEMPTS_MAX {
            book.violate(format!("{identity} came in attempt {attempt}"));
        }
        let bit = 1u8.checked_shl(attempt).unwrap_or_default();
        if story.handed & bit != 0 {
            book.violate(format!("{identity} came twice in attempt {attempt}"));
        }
        let over = story.acked.max(story.rejected);
        if over != 0 && attempt > over {
            let after = format!("after attempt {over} of it was confirmed to be the last");
            book.violate(format!("{identity} came in attempt {attempt} {after}"));
        }
        book.counts.handed += 1;
        book.counts.redelivered += u64::from(story.handed != 0);
        book.story(identity).handed |= bit;
        let life = book.life;
        Handed {
            identity,
            attempt,
            life,
        }
    }

    /// To be called before it is sent; the life in which it was said.
    pub(crate) fn says(&self, handed: Handed, word: Word) -> Life {
        let mut book = self.book();
        let story = book.story(handed.identity);
        story.ack_said |= word == Word::Ack;
        story.reject_said |= word == Word::Reject;
        book.life
    }

    /// The broker's answer to what was said in a life.
    pub(crate) fn told(&self, handed: Handed, said: (Word, Life), answer: Settled) {
        let mut book = self.book();
        let (word, life) = said;
        let stale = handed.life < life;
        book.counts.stale += u64::from(stale);
        if answer == Settled::LeaseLost {
            book.counts.lost += 1;
            return;
        }
        let Handed {
            identity, attempt, ..
        } = handed;
        let what = format!("{word:?} of attempt {attempt} of {identity}");
        if stale {
            let lives = format!("leased in life {}, said in life {life}", handed.life);
            book.violate(format!("{what} was honoured: {lives}"));
        }
        let story = *book.story(identity);
        let over = story.acked.max(story.rejected);
        // A retry's answer may well be seen after what the next attempts came to.
        let is_final = matches!(word, Word::Ack | Word::Reject);
        if over != 0 && (is_final || over <= attempt) {
            book.violate(format!("{what} was honoured after attempt {over} ended it"));
        }
        if is_final && u32::from(story.handed) >> (attempt + 1) != 0 {
            book.violate(format!("{what} was honoured, and a later attempt came"));
        }
        match word {
            Word::Ack => {
                book.counts.acked += 1;
                book.story(identity).acked = attempt;
            }
            Word::Reject => book.story(identity).rejected = attempt,
            Word::Retry | Word::Extend => {}
        }
    }

    pub(crate) fn violate(&self, what: String) {
        self.book().violate(what);
    }

    /// Items on their way, about.
    pub(crate) fn backlog(&self) -> u64 {
        let book = self.book();
        (book.stories.len() as u64).saturating_sub(book.counts.acked)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.book().counts
    }

    /// What contradicts a promise so far; the first few of it.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.book().violations.iter().take(10).cloned().collect()
    }

    /// Nothing is under way any more: each item ended as somebody said, or as a dead letter.
    pub(crate) fn ends_with(&self, dead: &[Dead]) {
        let mut book = self.book();
        let by_item: HashMap<u64, Dead> = dead.iter().map(|dead| (dead.item, *dead)).collect();
        book.counts.dead = dead.len() as u64;
        let strange: Vec<_> = dead
            .iter()
            .filter(|dead| !book.owners.contains_key(&dead.item))
            // Confirmed without an id, or never confirmed: then it is missed below.
            .map(|dead| format!("nobody published dead letter {dead:?}"))
            .collect();
        let stories = book.stories.iter();
        let wrong = stories.filter_map(|(identity, story)| {
            let wrong = story.wrong_end(by_item.get(&story.item))?;
            Some(format!("{identity} {wrong}: {story:?}"))
        });
        let wrong: Vec<_> = wrong.chain(strange).collect();
        book.violations.extend(wrong);
    }
}

impl Book {
    fn violate(&mut self, what: String) {
        let life = self.life;
        self.violations.push(format!("in life {life}: {what}"));
    }

    fn story(&mut self, identity: Identity) -> &mut Story {
        self.stories.entry(identity).or_default()
    }

    /// Each payload is one item, for ever.
    fn is_item(&mut self, identity: Identity, item: u64) {
        if !self.stories.contains_key(&identity) {
            self.violate(format!("nobody published {identity}"));
        }
        let story = self.story(identity);
        let known = std::mem::replace(&mut story.item, item);
        if known != 0 && known != item {
            self.violate(format!("{identity} is item {known} and item {item}"));
        }
        let owner = *self.owners.entry(item).or_insert(identity);
        if owner != identity {
            self.violate(format!("item {item} is {owner} and {identity}"));
        }
    }
}

impl Story {
    fn wrong_end(&self, dead: Option<&Dead>) -> Option<&'static str> {
        if !self.confirmed {
            return Some("was never confirmed");
        }
        let Some(dead) = dead else {
            return match () {
                () if self.rejected != 0 => Some("was rejected, and is no dead letter"),
                () if !self.ack_said => Some("is lost"),
                () => None,
            };
        };
        match () {
            () if self.acked != 0 => Some("was acked, and is a dead letter"),
            () if dead.rejected && !self.reject_said => Some("is dead for a word nobody said"),
            () if !dead.rejected && dead.attempts != ATTEMPTS_MAX => Some("died too early"),
            () => None,
        }
    }
}
