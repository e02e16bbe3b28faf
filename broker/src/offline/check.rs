//! Verifies everything in a data directory, and changes nothing.

use std::sync::Arc;

use baton_journal::fs::FileSystem;
use baton_journal::{Error, ReadError, Reader, Recovered, Settings, StreamId, recover};
use baton_queue::{ItemId, Queue};

use super::evidence::Evidence;
use super::names::names;
use super::report::{DamageLine, QueueLine, Report};
use super::rescue::Rescue;
use crate::engine::Recovery;
use crate::limits::READ_BYTES;

/// Holds the lock while it reads.
///
/// # Errors
/// The directory is in use, of another version, or cannot be read at all.
pub(super) fn check(fs: &Arc<dyn FileSystem>) -> Result<Report, Error> {
    let mut recovery = Recovery::default();
    let settings = Settings::new(rand::random);
    let recovered = match recover(Arc::clone(fs), settings, &mut recovery) {
        Err(error @ (Error::Locked | Error::Io { .. } | Error::Version { .. })) => {
            return Err(error);
        }
        recovered => recovered,
    };
    // What was recovered holds it already.
    let _held = match &recovered {
        Ok(_) => None,
        Err(_) => Some(super::lock(&**fs)?),
    };
    let evidence = Evidence::gather(&**fs)?;
    let damage = evidence.damage.iter();
    let mut report = Report {
        segments: evidence.segments.len(),
        bytes: evidence.segments.values().sum(),
        commits: evidence.commits,
        damage: damage
            .map(|damage| DamageLine::of(damage, &evidence))
            .collect(),
        unused_sidecars: evidence.unused.clone(),
        ..Report::default()
    };
    match recovered {
        Ok(recovered) => replayed(&recovered, recovery, &mut report)?,
        Err(error) => refused(&error, &evidence, &mut report),
    }
    conclude(&mut report);
    Ok(report)
}

/// A broker starts on it. Reads every body that is needed.
fn replayed(recovered: &Recovered, recovery: Recovery, report: &mut Report) -> Result<(), Error> {
    let found = recovered.report();
    report.segments = found.segments;
    report.bytes = found.bytes;
    report.commits = found.commits;
    report.torn_bytes = found.torn_bytes;
    let reader = recovered.reader();
    for known in recovery.finish(|stream| recovered.last_seq(stream)) {
        let mut line = QueueLine::of(known.name.as_str(), known.stream.0, &known.queue);
        for unreadable in unreadable(&reader, known.stream, &known.queue)? {
            let Unreadable {
                file,
                offset,
                first,
                end,
            } = unreadable;
            line.lost_items.insert(first, end);
            let mut damage = report.damage.iter();
            if !damage.any(|damage| damage.covers(&file, offset)) {
                report.damage.push(DamageLine {
                    file,
                    offset,
                    end: offset,
                    what: "bodies cannot be read".to_owned(),
                    hits: vec![format!("items {first}-{} of queue {}", end - 1, known.name)],
                });
            }
        }
        report.queues.push(line);
    }
    Ok(())
}

/// A broker does not start on it. What could be rescued says what is hit.
fn refused(error: &Error, evidence: &Evidence, report: &mut Report) {
    report.refusal = Some(error.to_string());
    let names = names(evidence);
    for (stream, trail) in &evidence.trails {
        let rescue = Rescue::of(*stream, trail, super::now());
        let name = names[stream].as_str();
        report.queues.push(QueueLine::rescued(name, &rescue));
    }
}

struct Unreadable {
    file: String,
    offset: u64,
    first: u64,
    end: u64,
}

/// Items that are not done and whose bodies cannot be read.
fn unreadable(reader: &Reader, stream: StreamId, queue: &Queue) -> Result<Vec<Unreadable>, Error> {
    let mut runs = Vec::new();
    queue.unsettled(&mut |first: ItemId, count| runs.push((first.0, first.0 + u64::from(count))));
    let mut found = Vec::new();
    let bytes = usize::try_from(READ_BYTES).unwrap_or(usize::MAX);
    for (mut at, end) in runs {
        while at < end {
            let count = u32::try_from(end - at).unwrap_or(u32::MAX);
            at = match reader.read(stream, at, count, bytes) {
                Ok(blocks) => blocks.last().map_or(end, |block| block.end().max(at + 1)),
                Err(ReadError::Damaged {
                    file,
                    offset,
                    first,
                    count,
                }) => {
                    let next = first.saturating_add(count.into()).clamp(at + 1, end);
                    found.push(Unreadable {
                        file,
                        offset,
                        first: first.max(at),
                        end: next,
                    });
                    next
                }
                Err(ReadError::Io(error)) => return Err(error),
                // Nothing is released while nobody writes.
                Err(ReadError::Gone) => at + 1,
            };
        }
    }
    Ok(found)
}

fn conclude(report: &mut Report) {
    let lost: u64 = report
        .queues
        .iter()
        .map(|queue| queue.lost_items.count())
        .sum();
    report.sound = report.refusal.is_none() && report.damage.is_empty() && lost == 0;
    report.verdict = if report.sound {
        "sound: a broker starts on it, and every item can be delivered".to_owned()
    } else if report.refusal.is_some() {
        "damaged: no broker starts on it. Restore the directory from a copy, or rescue what can be read with: baton-broker \
         salvage"
            .to_owned()
    } else if lost > 0 {
        format!(
            "damaged: a broker starts on it, and {lost} items that cannot be read become dead letters when their turn comes"
        )
    } else {
        "damaged: but nothing that is needed is hit; a broker starts on it, and every item can be delivered".to_owned()
    };
}
