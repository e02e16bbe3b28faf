//! Which queues are shown by their names.
//!
//! The first that were seen, up to a limit, and each for as long as it is there: a series that came and went with a queue's
//! traffic would be of no use. What is left is merged under one name that no queue should have.

use std::collections::HashSet;

use super::never_back::NeverBack;
use crate::engine::QueueHandle;
use crate::limits::METRICS_QUEUES_MAX;

/// The name of the merged ones.
pub(super) const OTHERS: &str = "_other";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Places {
    named: HashSet<String>,
    /// Of the others.
    pub(super) never_back: NeverBack,
}

impl Places {
    /// Those that are shown one by one, and the others, of all queues that there are, by name.
    pub(super) fn divide(
        &mut self,
        queues: Vec<QueueHandle>,
    ) -> (Vec<QueueHandle>, Vec<QueueHandle>) {
        let names: Vec<&str> = queues.iter().map(QueueHandle::name).collect();
        self.assign(&names, METRICS_QUEUES_MAX);
        queues
            .into_iter()
            .partition(|queue| self.named.contains(queue.name()))
    }

    /// Frees the places of queues that are gone, and gives free ones to the first that have none.
    fn assign(&mut self, names: &[&str], places: usize) {
        let there: HashSet<&str> = names.iter().copied().collect();
        self.named.retain(|name| there.contains(name.as_str()));
        for name in names.iter().filter(|name| **name != OTHERS) {
            if self.named.len() >= places {
                return;
            }
            if !self.named.contains(*name) {
                self.named.insert((*name).to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(places: &Places) -> Vec<&str> {
        let mut named: Vec<_> = places.named.iter().map(String::as_str).collect();
        named.sort_unstable();
        named
    }

    #[test]
    fn a_place_is_kept_until_its_queue_is_gone() {
        let mut places = Places::default();
        places.assign(&["m", "n", "z"], 2);
        assert_eq!(named(&places), ["m", "n"]);
        places.assign(&["a", "m", "n", "z"], 2);
        assert_eq!(named(&places), ["m", "n"], "a new one takes no place");
        places.assign(&["a", "n", "z"], 2);
        assert_eq!(named(&places), ["a", "n"]);
    }

    #[test]
    fn the_name_of_the_others_is_no_queues() {
        let mut places = Places::default();
        places.assign(&[OTHERS, "q"], 2);
        assert_eq!(named(&places), ["q"]);
    }
}
