//! Taking items in: who is a repeat, what fits, which ids they get.
//!
//! A batch is judged as a whole before anything changes (see `plan`); then its runs become events.

use std::sync::Arc;

use bytes::Bytes;

use crate::column::Sizes;
use crate::event::{DedupKey, Event, Origin, ProducerRun, PublishedItems, Repeated};
use crate::id::ItemId;
use crate::plan::{Fate, Plan, Step, key_of};
use crate::queue::Queue;
use crate::reject::Reject;
use crate::time::Timestamp;

/// A batch of new items.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    /// Whose sequences they have; None: no sequence, and a retry stores them again.
    pub producer: Option<ProducerRef<'a>>,
    /// The items, in order.
    pub items: &'a [NewItem],
    /// What to do where not all of them fit.
    pub admit: Admit,
    /// How the producer's clock compares. None: not known.
    pub origin: Option<Origin>,
}

/// A producer and its sequence.
#[derive(Clone, Copy, Debug)]
pub struct ProducerRef<'a> {
    /// Names the producer.
    pub id: &'a str,
    /// Sequence of the item with index 0. From 1.
    pub first_sequence: u64,
}

/// An item to take in. Its body stays with the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewItem {
    /// Its place in the batch as it was sent, so that its sequence is `first_sequence + index`. Ascending; gaps are items
    /// that were refused before.
    pub index: u32,
    /// Bytes.
    pub size: u32,
    /// Not to be delivered before; None and times that have passed: at once.
    pub due: Option<Timestamp>,
    /// Not to be delivered from then on; None: the queue's `default_ttl`. A time that has passed is accepted, and the item
    /// expires at the next tick.
    pub expires_at: Option<Timestamp>,
    /// An item with a key that is remembered is a repeat. Empty: none.
    pub dedup_key: Option<Bytes>,
}

/// What to do where not all items of a batch fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// All or none.
    All,
    /// As many leading ones as fit.
    Prefix,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// How many leading items were handled: stored, or found to be repeats.
    pub admitted: usize,
    /// They, in order and without gaps.
    pub runs: Vec<PublishedRun>,
    /// With [`Admit::Prefix`]: why the next item was not handled; None: all were.
    pub blocked: Option<Reject>,
}

/// Items in a row with the same fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedRun {
    /// Of the first one, in the items given.
    pub position: usize,
    /// At least 1.
    pub count: u32,
    /// Id of the first one, the others follow by 1. None: a repeat whose id is forgotten.
    pub first: Option<ItemId>,
    /// They were there already and were not stored again.
    pub duplicate: bool,
}

impl Queue {
    /// Takes in new items.
    ///
    /// With [`Admit::Prefix`] and no room at all the answer is an empty `Published` that says why in `blocked`.
    ///
    /// # Errors
    /// Why nothing was stored. Reasons that time cannot mend are errors with either `admit`, if they meet the first item.
    pub fn handle_publish(
        &mut self,
        now: Timestamp,
        publish: Publish<'_>,
        events: &mut Vec<Event>,
    ) -> Result<Published, Reject> {
        self.make_room_for_keys(now, publish.items, events);
        let (steps, blocked) = Plan::new(self, now, publish).make()?;
        let producer = publish
            .producer
            .map(|producer| self.producer_name(producer));
        if let Some((name, _)) = &producer
            && !steps.is_empty()
        {
            self.make_room_for_producer(now, name, events);
        }
        let mut published = Published {
            blocked,
            ..Published::default()
        };
        for step in steps {
            let items = &publish.items[step.position..][..step.count as usize];
            let producer = producer.as_ref().map(|(id, first_sequence)| ProducerRun {
                id: Arc::clone(id),
                first_sequence: first_sequence + u64::from(items[0].index),
            });
            let (event, run) = self.step_event((now, publish.origin), &step, items, producer);
            self.emit(event, events);
            published.push(run);
        }
        Ok(published)
    }

    fn step_event(
        &self,
        (at, origin): (Timestamp, Option<Origin>),
        step: &Step,
        items: &[NewItem],
        producer: Option<ProducerRun>,
    ) -> (Event, PublishedRun) {
        let &Step {
            position,
            count,
            fate,
        } = step;
        let (event, first, duplicate) = match fate {
            Fate::Repeat { first } => {
                let event = Event::Repeated(Repeated {
                    at,
                    count,
                    first,
                    producer,
                });
                (event, first, true)
            }
            Fate::New { due, expires_at } => {
                let first = self.last_item.plus(1);
                let (sizes, keys) = (sizes(items), self.dedup_keys(at, items));
                let event = PublishedItems {
                    at,
                    first,
                    count,
                    sizes,
                    due,
                    expires_at,
                    producer,
                    keys,
                    origin,
                };
                (Event::Published(event), Some(first), false)
            }
        };
        (
            event,
            PublishedRun {
                position,
                count,
                first,
                duplicate,
            },
        )
    }

    fn dedup_keys(&self, now: Timestamp, items: &[NewItem]) -> Vec<DedupKey> {
        let until = now.saturating_add(self.config.dedup_window);
        let keyed = (0..)
            .zip(items)
            .filter_map(|(offset, item)| Some((offset, key_of(item)?)));
        // A copy of its own: a slice would keep the whole message alive that the key came with.
        let copied = keyed.map(|(offset, key)| (offset, Bytes::copy_from_slice(key)));
        copied
            .map(|(offset, key)| DedupKey { offset, key, until })
            .collect()
    }

    fn producer_name(&self, producer: ProducerRef<'_>) -> (Arc<str>, u64) {
        let known = self
            .producers
            .get(producer.id)
            .map(|(name, _)| Arc::clone(name));
        (
            known.unwrap_or_else(|| producer.id.into()),
            producer.first_sequence,
        )
    }

    fn make_room_for_producer(&mut self, now: Timestamp, name: &str, events: &mut Vec<Event>) {
        if self.producers.get(name).is_some() {
            return;
        }
        if let Some(producer) = self.producers.surplus().cloned() {
            self.emit(Event::ProducerForgotten { at: now, producer }, events);
        }
    }

    /// Keys whose window has ended must not stand in the way of new ones until the next tick.
    fn make_room_for_keys(&mut self, now: Timestamp, items: &[NewItem], events: &mut Vec<Event>) {
        if self.keys.room() >= items.len() {
            return;
        }
        let count = self.keys.ended(now, items.len());
        if count > 0 {
            self.emit(Event::KeysForgotten { at: now, count }, events);
        }
    }
}

impl Published {
    fn push(&mut self, run: PublishedRun) {
        self.admitted += run.count as usize;
        if let Some(last) = self.runs.last_mut()
            && !last.duplicate
            && !run.duplicate
        {
            last.count += run.count; // New ids are consecutive.
        } else {
            self.runs.push(run);
        }
    }
}

fn sizes(items: &[NewItem]) -> Sizes {
    let first = items[0].size;
    if items.iter().all(|item| item.size == first) {
        return Sizes::Uniform(first);
    }
    let all = items.iter().map(|item| item.size).collect();
    Sizes::Each { all, offset: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::keys::Keys;
    use crate::limits::{PRODUCERS_MAX, SEQUENCE_RUNS_MAX};
    use crate::testing::{SECOND, Story, plain};

    fn keyed(numbers: std::ops::Range<usize>) -> Vec<NewItem> {
        let key = |number: usize| Some(Bytes::copy_from_slice(&number.to_le_bytes()));
        let items = (0..).zip(numbers);
        items
            .map(|(index, number)| NewItem {
                index,
                dedup_key: key(number),
                ..NewItem::default()
            })
            .collect()
    }

    fn run(position: usize, count: u32, first: u64, duplicate: bool) -> PublishedRun {
        PublishedRun {
            position,
            count,
            first: Some(ItemId(first)),
            duplicate,
        }
    }

    #[test]
    fn a_repeated_batch_gets_its_ids_again_even_from_a_closed_queue() {
        let mut story = Story::new(Config::default());
        story.add(4);
        story.publish(Some(("p", 1)), &plain(3)).unwrap();
        let config = Config {
            closed: true,
            ..Config::default()
        };
        story.queue.set_config(story.now, config, &mut story.events);
        let again = story.publish(Some(("p", 1)), &plain(3)).unwrap();
        assert_eq!(again.runs, [run(0, 3, 5, true)]);
        assert_eq!(
            story.publish(Some(("p", 3)), &plain(3)),
            Err(Reject::Closed)
        );
        assert_eq!(story.queue.stats(story.now).duplicates_total, 3);
    }

    #[test]
    fn a_batch_that_overlaps_a_stored_one_adds_only_the_rest() {
        let mut story = Story::new(Config::default());
        story.publish(Some(("p", 10)), &plain(3)).unwrap();
        let published = story.publish(Some(("p", 8)), &plain(7)).unwrap();
        let expected = [run(0, 2, 4, false), run(2, 3, 1, true), run(5, 2, 6, false)];
        assert_eq!(published.runs, expected);
    }

    #[test]
    fn a_key_stands_for_its_first_item_within_the_batch_too() {
        let mut story = Story::new(Config::default());
        let items = [keyed(1..2), keyed(1..2), keyed(2..3)].concat();
        let published = story.publish(None, &items).unwrap();
        let expected = [run(0, 1, 1, false), run(1, 1, 1, true), run(2, 1, 2, false)];
        assert_eq!(published.runs, expected);
    }

    #[test]
    fn sequences_have_to_ascend_from_one() {
        let mut story = Story::new(Config::default());
        let twice = [plain(1), plain(1)].concat();
        for (first, items) in [(0, plain(1)), (u64::MAX, plain(2)), (1, twice)] {
            let refused = story.publish(Some(("p", first)), &items);
            assert_eq!(refused, Err(Reject::SequenceInvalid));
        }
        assert!(story.publish(Some(("p", u64::MAX)), &plain(1)).is_ok());
    }

    #[test]
    fn a_sequence_below_what_is_remembered_is_refused_and_not_guessed() {
        let mut story = Story::new(Config::default());
        for gap in 0..=SEQUENCE_RUNS_MAX as u64 {
            story.publish(Some(("p", 10 + 2 * gap)), &plain(1)).unwrap();
        }
        let refused = story.publish(Some(("p", 9)), &plain(1));
        assert_eq!(refused, Err(Reject::SequenceForgotten { sequence: 9 }));
    }

    #[test]
    fn the_most_idle_producer_makes_room_for_a_new_one() {
        let mut story = Story::new(Config::default());
        for producer in 0..=PRODUCERS_MAX {
            story.wait(std::time::Duration::from_nanos(1));
            story
                .publish(Some((&producer.to_string(), 1)), &plain(1))
                .unwrap();
        }
        let mut duplicate = |id| story.publish(Some((id, 1)), &plain(1)).unwrap().runs[0].duplicate;
        assert!(duplicate("1"));
        assert!(!duplicate("0"));
    }

    #[test]
    fn keys_beyond_the_limit_are_refused_until_the_oldest_ends() {
        let mut story = Story::new(Config::default());
        story.queue.keys = Keys::with_capacity(10);
        story.publish(None, &keyed(0..10)).unwrap();
        story.wait(SECOND);
        let retry_after = Config::default().dedup_window - SECOND;
        let more = keyed(10..11);
        assert_eq!(
            story.publish(None, &more),
            Err(Reject::DedupFull { retry_after })
        );
        assert!(story.publish(None, &keyed(7..8)).unwrap().runs[0].duplicate);
        story.wait(retry_after);
        assert!(story.publish(None, &more).is_ok());
    }

    #[test]
    fn what_can_never_fit_is_told_from_what_does_not_fit_now() {
        let config = Config {
            max_items: Some(5),
            ..Config::default()
        };
        let mut story = Story::new(config);
        story.add(3);
        let never = story.publish(None, &plain(6));
        assert_eq!(
            never,
            Err(Reject::NeverFits {
                items: 6,
                bytes: 60
            })
        );
        let full = story.publish(None, &plain(3));
        assert_eq!(
            full,
            Err(Reject::Full {
                items: 3,
                bytes: 30
            })
        );
        let publish = Publish {
            producer: None,
            items: &plain(6),
            admit: Admit::Prefix,
            origin: None,
        };
        let some = story
            .queue
            .handle_publish(story.now, publish, &mut story.events)
            .unwrap();
        assert_eq!(
            (some.admitted, some.blocked),
            (
                2,
                Some(Reject::Full {
                    items: 3,
                    bytes: 30
                })
            )
        );
    }

    #[test]
    fn items_that_come_one_by_one_share_their_runs() {
        let mut story = Story::new(Config::default());
        for size in 0..1000 {
            story.wait(SECOND);
            story
                .publish(
                    None,
                    &[NewItem {
                        size,
                        ..NewItem::default()
                    }],
                )
                .unwrap();
        }
        assert!(story.queue.ready.iter().count() <= 1000 / 256 + 1);
        let runs = story.lease(crate::id::SessionId::UNARY, 1000);
        assert_eq!(runs.len(), 1000, "each keeps its own time");
        assert!(
            runs.iter()
                .zip(0..)
                .all(|(run, size)| run.sizes.at(0) == size)
        );
    }
}
