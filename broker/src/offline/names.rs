//! Names of queues, where some may be lost.

use std::collections::{BTreeMap, BTreeSet};

use baton_journal::StreamId;
use baton_queue::QueueName;

use super::evidence::{Evidence, Trail};

/// A name for each stream, no two of them the same. Of two queues with one name the younger one has it: the other was
/// deleted, and that is lost.
pub(super) fn names(evidence: &Evidence) -> BTreeMap<StreamId, QueueName> {
    let mut taken = BTreeSet::new();
    let mut names = BTreeMap::new();
    for (&stream, trail) in evidence.trails.iter().rev() {
        if let Some(name) = known(trail).filter(|name| taken.insert(name.clone())) {
            names.insert(stream, name);
        }
    }
    for &stream in evidence.trails.keys() {
        names
            .entry(stream)
            .or_insert_with(|| made_up(stream, &mut taken));
    }
    names
}

fn known(trail: &Trail) -> Option<QueueName> {
    let name = std::str::from_utf8(trail.name.as_deref()?).ok()?;
    QueueName::parse(name).ok()
}

/// `salvaged-<stream>`, and more where a queue is called that.
fn made_up(stream: StreamId, taken: &mut BTreeSet<QueueName>) -> QueueName {
    let mut name = format!("salvaged-{stream}");
    loop {
        let parsed = QueueName::parse(&name).expect("it has few letters, and good ones");
        if taken.insert(parsed.clone()) {
            return parsed;
        }
        name.push_str("-again");
    }
}
