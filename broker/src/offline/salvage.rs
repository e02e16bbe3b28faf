//! Writes what can be rescued into a new journal, through the ordinary writer.

use std::collections::BTreeMap;
use std::sync::Arc;

use baton_journal::fs::FileSystem;
use baton_journal::{
    Batch, Error, Found, Keeper, Record, Settings, Step, StreamId, Writer, recover, scan,
};
use baton_queue::{Event, Queue};
use bytes::Bytes;

use super::Failure;
use super::evidence::Evidence;
use super::names::names;
use super::ranges::Ranges;
use super::report::{DamageLine, QueueLine, Report};
use super::rescue::Rescue;
use crate::engine::Recovery;
use crate::limits::COMMIT_BYTES;

/// Reads `from`, holding its lock, and fills `into`, which is empty.
///
/// # Errors
/// See [`Failure`]. What is in `into` then is of no use.
pub(super) fn salvage(
    from: &dyn FileSystem,
    into: Arc<dyn FileSystem>,
    settings: Settings,
) -> Result<Report, Failure> {
    let _held = super::lock(from)?;
    let evidence = Evidence::gather(from)?;
    let names = names(&evidence);
    let mut target = Target::new(into, settings)?;
    let mut report = Report {
        segments: evidence.segments.len(),
        bytes: evidence.segments.values().sum(),
        commits: evidence.commits,
        ..Report::default()
    };
    let mut wanted = BTreeMap::new();
    for (&stream, trail) in &evidence.trails {
        let rescue = Rescue::of(stream, trail, super::now());
        let name = &names[&stream];
        target.queue(stream, name.as_str(), &rescue.queue)?;
        wanted.insert(stream, rescue.waiting());
        report
            .queues
            .push(QueueLine::rescued(name.as_str(), &rescue));
    }
    target.bodies(from, &mut wanted)?;
    target.finish()?;
    let damage = evidence.damage.iter();
    report.damage = damage
        .map(|damage| DamageLine::of(damage, &evidence))
        .collect();
    conclude(&mut report);
    Ok(report)
}

/// The journal that is being written.
struct Target {
    writer: Writer,
    keeper: Keeper,
    batch: Batch,
    bytes: usize,
}

impl Target {
    fn new(into: Arc<dyn FileSystem>, settings: Settings) -> Result<Self, Failure> {
        let recovered = recover(into, settings, &mut Recovery::default())?;
        let (writer, keeper, _) = recovered.start()?;
        Ok(Self {
            writer,
            keeper,
            batch: Batch::default(),
            bytes: 0,
        })
    }

    /// The queue as it is, as a checkpoint. One stands for a fact at least, so there is one.
    fn queue(&mut self, stream: StreamId, name: &str, queue: &Queue) -> Result<(), Failure> {
        let name = Bytes::copy_from_slice(name.as_bytes());
        self.push(Record::StreamOpened { stream, name })?;
        let mut payload = Vec::new();
        let (at, config) = (super::now(), queue.config().clone());
        baton_queue::encode_events(&[Event::ConfigChanged { at, config }], &mut payload);
        self.push(Record::Facts {
            stream,
            seq: 1,
            payload: payload.into(),
        })?;
        let mut snapshot = Vec::new();
        queue.snapshot(&mut snapshot);
        let snapshot = Bytes::from(snapshot);
        let parts = snapshot.len().div_ceil(COMMIT_BYTES).max(1);
        for part in 0..parts {
            let end = snapshot.len().min((part + 1) * COMMIT_BYTES);
            self.push(Record::Checkpoint {
                stream,
                as_of: 1,
                part: u32::try_from(part).expect("a snapshot is in memory"),
                parts: u32::try_from(parts).expect("a snapshot is in memory"),
                payload: snapshot.slice(part * COMMIT_BYTES..end),
            })?;
        }
        Ok(())
    }

    /// The bodies that are wanted, each once.
    fn bodies(
        &mut self,
        from: &dyn FileSystem,
        wanted: &mut BTreeMap<StreamId, Ranges>,
    ) -> Result<(), Failure> {
        let mut outcome = Ok(());
        scan(from, &mut |found| {
            if outcome.is_ok()
                && let Found::Record(Record::Bodies { stream, block }, _) = found
            {
                let Some(wanted) = wanted.get_mut(&stream) else {
                    return;
                };
                for (first, end) in wanted.within(block.first(), block.end()) {
                    let count = u32::try_from(end - first).unwrap_or(u32::MAX);
                    if let Some(block) = block.copied(first, count) {
                        outcome = self.push(Record::Bodies { stream, block });
                        wanted.remove(first, end);
                    }
                }
            }
        })?;
        outcome?;
        let complete = wanted.values().all(Ranges::is_empty);
        complete.then_some(()).ok_or(Failure::Changed)
    }

    fn push(&mut self, record: Record) -> Result<(), Failure> {
        let bytes = match &record {
            Record::StreamOpened { name, .. } => name.len(),
            Record::StreamClosed { .. } => 0,
            Record::Facts { payload, .. } | Record::Checkpoint { payload, .. } => payload.len(),
            Record::Bodies { block, .. } => block.payload().len(),
        };
        if self.bytes + bytes > COMMIT_BYTES {
            self.commit()?;
        }
        self.bytes += bytes;
        self.batch.records.push(record);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.bytes = 0;
        loop {
            match self.writer.commit(&self.batch) {
                Err(Error::NoSegment) => {
                    if !self.keep()? {
                        return Err(Failure::NoSpace);
                    }
                }
                written => {
                    written?;
                    self.batch.clear();
                    return Ok(());
                }
            }
        }
    }

    /// One step of the keeper; whether there is more to do.
    fn keep(&mut self) -> Result<bool, Failure> {
        match self.keeper.step()? {
            Step::Idle => Ok(false),
            Step::Worked => Ok(true),
            Step::Forward(copies) => match self.writer.forward(copies) {
                Ok(()) | Err(Error::NoSegment) => Ok(true),
                Err(error) => Err(error.into()),
            },
            Step::NoSpace => Err(Failure::NoSpace),
        }
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.commit()?;
        while self.keep()? {}
        Ok(())
    }
}

fn conclude(report: &mut Report) {
    let queues = &report.queues;
    let sum = |count: fn(&QueueLine) -> u64| queues.iter().map(count).sum::<u64>();
    let (items, lost) = (sum(QueueLine::items), sum(|queue| queue.lost_items.count()));
    let unknown = sum(|queue| queue.unknown_items.count());
    let revived = sum(|queue| queue.revived_items.count());
    let count = queues.len();
    let mut verdict = format!("rescued {items} items of {count} queues, lost {lost}");
    if revived > 0 {
        verdict += &format!("; {revived} of the rescued ones may have been done before");
    }
    if unknown > 0 {
        verdict += &format!("; {unknown} others are done or lost, which cannot be told");
    }
    report.verdict = verdict;
}
