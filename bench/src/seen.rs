//! Which items came, and whether they came once and in order.
//!
//! Item `n` is number `n / producers` of producer `n % producers`. Each consumer keeps a `Seen` of its own; merged, they
//! say what was lost or came twice. Order is checked where the promise can be seen: first deliveries of one producer's
//! items at one consumer.

use anyhow::{Result, ensure};
use baton_client::Delivery;

/// No run has more items; what carries such a number is none of ours.
const NUMBERS: u64 = 1 << 36;

#[derive(Debug)]
pub(crate) struct Seen {
    producers: Vec<Numbers>,
    repeats: u64,
    disorder: u64,
    strange: u64,
}

#[derive(Debug, Clone, Default)]
struct Numbers {
    /// A bit for each number.
    words: Vec<u64>,
    /// One more than the number that came last.
    next: u64,
}

impl Seen {
    pub(crate) fn new(producers: u64) -> Self {
        Self {
            producers: (0..producers).map(|_| Numbers::default()).collect(),
            repeats: 0,
            disorder: 0,
            strange: 0,
        }
    }

    /// Notes a delivery; its item's number.
    pub(crate) fn mark_delivery(&mut self, delivery: &Delivery) -> u64 {
        let chunk = delivery.payload().first_chunk();
        let number = chunk.map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes));
        self.mark(number, delivery.attempt());
        number
    }

    fn mark(&mut self, number: u64, attempt: u32) {
        if number >= NUMBERS {
            self.strange += 1;
            return;
        }
        let producers = self.producers.len() as u64;
        let (producer, number) = (to_usize(number % producers), number / producers);
        let numbers = &mut self.producers[producer];
        if attempt == 1 {
            self.disorder += u64::from(number < numbers.next);
            numbers.next = number + 1;
        }
        let (word, bit) = (to_usize(number / 64), 1 << (number % 64));
        if numbers.words.len() <= word {
            numbers.words.resize(word + 1, 0);
        }
        self.repeats += u64::from(numbers.words[word] & bit != 0);
        numbers.words[word] |= bit;
    }

    /// What another consumer saw, too.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (into, from) in self.producers.iter_mut().zip(&other.producers) {
            if into.words.len() < from.words.len() {
                into.words.resize(from.words.len(), 0);
            }
            for (into, from) in into.words.iter_mut().zip(&from.words) {
                self.repeats += u64::from((*into & from).count_ones());
                *into |= from;
            }
        }
        self.repeats += other.repeats;
        self.disorder += other.disorder;
        self.strange += other.strange;
    }

    /// Whether the first items of each producer, as many as it published, came once and in order, and nothing else did.
    pub(crate) fn check(&self, published: &[u64]) -> Result<()> {
        let mut lost = 0;
        let mut strange = self.strange;
        for (numbers, published) in self.producers.iter().zip(published) {
            let came = |number: u64| {
                let word = numbers.words.get(to_usize(number / 64)).copied();
                word.unwrap_or_default() >> (number % 64) & 1
            };
            let ours: u64 = (0..*published).map(came).sum();
            let all: u64 = numbers
                .words
                .iter()
                .map(|w| u64::from(w.count_ones()))
                .sum();
            lost += published - ours;
            strange += all - ours;
        }
        let Self {
            repeats, disorder, ..
        } = self;
        ensure!(
            lost == 0 && *repeats == 0 && *disorder == 0 && strange == 0,
            "wrong result: of {} items {lost} were lost, {repeats} came twice, {disorder} out of order, and {strange} \
             were never published",
            published.iter().sum::<u64>()
        );
        Ok(())
    }
}

/// How many of `items` each producer publishes, where item `n` is producer `n % producers`'s.
pub(crate) fn shares(items: u64, producers: u64) -> Vec<u64> {
    (0..producers)
        .map(|producer| (items + producers - 1 - producer) / producers)
        .collect()
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("numbers of items fit this machine")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(numbers: &[u64]) -> Seen {
        let mut seen = Seen::new(2);
        numbers.iter().for_each(|number| seen.mark(*number, 1));
        seen
    }

    fn problem(seen: &Seen) -> String {
        seen.check(&shares(5, 2)).unwrap_err().to_string()
    }

    #[test]
    fn every_item_once_from_two_consumers_is_right() {
        // The producers' streams are in no order with each other.
        let mut all = seen(&[1, 0, 4]);
        all.merge(&seen(&[2, 3]));
        all.check(&shares(5, 2)).unwrap();
    }

    #[test]
    fn what_is_lost_or_repeated_or_out_of_order_or_foreign_is_wrong() {
        assert!(problem(&seen(&[0, 1, 2, 4])).contains("1 were lost"));
        let mut twice = seen(&[0, 1, 2, 3, 4]);
        twice.merge(&seen(&[2]));
        assert!(problem(&twice).contains("1 came twice"));
        assert!(problem(&seen(&[0, 1, 4, 2, 3])).contains("1 out of order"));
        assert!(problem(&seen(&[0, 1, 2, 3, 4, 6])).contains("1 were never published"));
        assert!(problem(&seen(&[0, 1, 2, 3, 4, u64::MAX])).contains("1 were never published"));
    }

    #[test]
    fn a_later_attempt_may_come_out_of_order() {
        let mut all = seen(&[1, 4]);
        all.mark(0, 2);
        all.mark(2, 2);
        all.mark(3, 1);
        all.check(&shares(5, 2)).unwrap();
    }

    #[test]
    fn shares_add_up_and_the_first_producers_have_the_rest() {
        assert_eq!(shares(5, 2), [3, 2]);
        assert_eq!(shares(6, 4), [2, 2, 1, 1]);
        assert_eq!(shares(1, 3), [1, 0, 0]);
    }
}
