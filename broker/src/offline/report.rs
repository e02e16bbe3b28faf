//! What `check` and `salvage` tell: for people as text, for programs as JSON.

use std::fmt::{self, Display};

use baton_journal::{Damage, Hit};
use baton_queue::{Queue, Timestamp};
use serde::Serialize;

use super::evidence::Evidence;
use super::ranges::Ranges;
use super::rescue::Rescue;

/// What a data directory holds.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Nothing is damaged or missing.
    pub(super) sound: bool,
    /// Why a broker refuses it.
    pub(super) refusal: Option<String>,
    pub(super) segments: usize,
    pub(super) bytes: u64,
    pub(super) commits: u64,
    /// Of a commit that a crash cut off: it was never confirmed.
    pub(super) torn_bytes: u64,
    /// Sidecars that are passed over.
    pub(super) unused_sidecars: Vec<String>,
    pub(super) queues: Vec<QueueLine>,
    pub(super) damage: Vec<DamageLine>,
    pub(super) verdict: String,
}

/// One queue.
#[derive(Debug, Default, Serialize)]
pub(super) struct QueueLine {
    pub(super) name: String,
    pub(super) stream: u32,
    pub(super) scheduled: u64,
    /// Those that were leased too: a start makes them ready.
    pub(super) ready: u64,
    pub(super) dead: u64,
    pub(super) bytes: u64,
    /// Nothing says what it was: its configuration, schedules and attempts are lost.
    pub(super) begins_anew: bool,
    pub(super) missing_facts: Ranges,
    pub(super) lost_items: Ranges,
    pub(super) unknown_items: Ranges,
    pub(super) revived_items: Ranges,
}

/// One piece of damage.
#[derive(Debug, Serialize)]
pub(super) struct DamageLine {
    pub(super) file: String,
    pub(super) offset: u64,
    pub(super) end: u64,
    pub(super) what: String,
    /// What stood there.
    pub(super) hits: Vec<String>,
}

impl QueueLine {
    pub(super) fn of(name: &str, stream: u32, queue: &Queue) -> Self {
        let stats = queue.stats(Timestamp(0));
        Self {
            name: name.to_owned(),
            stream,
            scheduled: stats.scheduled,
            ready: stats.ready + stats.leased,
            dead: stats.dead,
            bytes: stats.bytes + stats.dead_bytes,
            ..Self::default()
        }
    }

    pub(super) fn rescued(name: &str, rescue: &Rescue) -> Self {
        Self {
            begins_anew: rescue.begins_anew,
            missing_facts: rescue.missing_facts.clone(),
            lost_items: rescue.lost.clone(),
            unknown_items: rescue.unknown.clone(),
            revived_items: rescue.revived.clone(),
            ..Self::of(name, rescue.stream.0, &rescue.queue)
        }
    }

    pub(super) const fn items(&self) -> u64 {
        self.scheduled + self.ready + self.dead
    }

    fn losses(&self) -> impl Iterator<Item = (&'static str, &Ranges)> {
        let losses = [
            ("lost, their bodies cannot be read: items", &self.lost_items),
            (
                "done or lost, which cannot be told: items",
                &self.unknown_items,
            ),
            (
                "waiting or done, which cannot be told, kept as ready: items",
                &self.revived_items,
            ),
            ("missing facts: numbers", &self.missing_facts),
        ];
        losses.into_iter().filter(|(_, ranges)| !ranges.is_empty())
    }
}

impl DamageLine {
    pub(super) fn of(damage: &Damage, evidence: &Evidence) -> Self {
        let hits = damage.hits.iter().map(|hit| named(hit, evidence));
        Self {
            file: damage.file.clone(),
            offset: damage.offset,
            end: damage.end,
            what: damage.what.to_owned(),
            hits: hits.collect(),
        }
    }

    pub(super) fn covers(&self, file: &str, offset: u64) -> bool {
        self.file == file && (self.offset..self.end).contains(&offset)
    }
}

fn named(hit: &Hit, evidence: &Evidence) -> String {
    let queue = |stream| match evidence.name(stream) {
        Some(name) => format!("queue {name}"),
        None => format!("stream {stream}"),
    };
    match *hit {
        Hit::Opened(stream) => format!("the name of {}", queue(stream)),
        Hit::Closed(stream) => format!("the end of {}", queue(stream)),
        Hit::Facts { stream, seq } => format!("facts {seq} of {}", queue(stream)),
        Hit::Bodies {
            stream,
            first,
            count,
        } => {
            let items = Ranges::from_iter([(first, first + u64::from(count))]);
            format!("bodies of items {items} of {}", queue(stream))
        }
        Hit::Checkpoint { stream, as_of } => {
            format!("the checkpoint at {as_of} of {}", queue(stream))
        }
        Hit::Streams => "the list of queues".to_owned(),
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            segments,
            bytes,
            commits,
            torn_bytes,
            ..
        } = self;
        writeln!(
            f,
            "{segments} segments, {bytes} bytes in use, {commits} commits"
        )?;
        if *torn_bytes > 0 {
            writeln!(
                f,
                "{torn_bytes} bytes of a commit that was cut off by a crash, and never confirmed"
            )?;
        }
        for file in &self.unused_sidecars {
            writeln!(
                f,
                "{file} is of no use and does no harm: it is made again when it is needed"
            )?;
        }
        self.queues.iter().try_for_each(|queue| queue.fmt(f))?;
        self.damage.iter().try_for_each(|damage| damage.fmt(f))?;
        if let Some(refusal) = &self.refusal {
            writeln!(f, "a broker refuses it: {refusal}")?;
        }
        writeln!(f, "{}", self.verdict)
    }
}

impl Display for QueueLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            scheduled,
            ready,
            dead,
            bytes,
            ..
        } = self;
        writeln!(
            f,
            "queue {name}: {scheduled} scheduled, {ready} ready, {dead} dead, {bytes} bytes"
        )?;
        if self.begins_anew {
            writeln!(
                f,
                "  begins anew: its configuration, schedules and attempts are lost"
            )?;
        }
        self.losses()
            .try_for_each(|(what, ranges)| writeln!(f, "  {what} {ranges}"))
    }
}

impl Display for DamageLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file, offset, what, ..
        } = self;
        writeln!(f, "{file} is damaged at byte {offset}: {what}")?;
        self.hits
            .iter()
            .try_for_each(|hit| writeln!(f, "  hit: {hit}"))
    }
}
