//! Runs in a snapshot: ids as gaps, times as distances, columns as the run's own values.

use serde::{Deserialize, Serialize};

use crate::codec::{COUNTER_MAX, DecodeError, ensure};
use crate::column::Column;
use crate::dead::Dead;
use crate::id::{ItemId, SessionId};
use crate::leases::Lease;
use crate::ready::{Ready, Since};
use crate::run::{Items, Phase, Run};
use crate::run_map::RunMap;
use crate::scheduled::Scheduled;
use crate::snapshot::{Reader, Writer};
use crate::time::Timestamp;

/// How the values of a column are stored.
// Kept on disk by position: never reordered or removed, new ones go last.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Values {
    None,
    One,
    Each,
}

/// What a state keeps of its runs, as bytes.
pub(crate) trait StoredPhase: Phase {
    fn store<'a>(&'a self, writer: &mut Writer<'a>);

    /// The phase of a run of these items, and whether the two fit together.
    fn load(reader: &mut Reader<'_>, items: &Items) -> Result<Self, DecodeError>;
}

impl<P: StoredPhase> RunMap<P> {
    pub(super) fn store<'a>(&'a self, writer: &mut Writer<'a>) {
        writer.put(&self.runs());
        writer.end = ItemId(1);
        for Run { items, phase } in self.iter() {
            store_items(items, writer);
            phase.store(writer);
        }
    }

    pub(super) fn load(reader: &mut Reader<'_>, last_item: ItemId) -> Result<Self, DecodeError> {
        let count: u64 = reader.take()?;
        let mut runs = reader.room(count);
        reader.end = ItemId(1);
        for _ in 0..count {
            let items = load_items(reader)?;
            ensure(items.last() <= last_item, "items were published")?;
            let phase = P::load(reader, &items)?;
            runs.push(Run { items, phase });
        }
        let rule = "bytes are far from their end";
        Self::of(runs).ok_or(DecodeError::Inconsistent { rule })
    }
}

fn store_items<'a>(items: &'a Items, writer: &mut Writer<'a>) {
    writer.put(&(items.first.get() - writer.end.get()));
    writer.put(&items.count);
    writer.end = items.end();
    match &items.sizes {
        Column::Uniform(size) => writer.put(&(Values::One, size)),
        each @ Column::Each { .. } => {
            writer.put(&Values::Each);
            each.slice(items.count)
                .iter()
                .for_each(|size| writer.put(size));
        }
    }
    store_times(Some(&items.published_at), items.count, writer);
    writer.base = items.published_at.at(0);
    store_times(items.expires_at.as_ref(), items.count, writer);
    writer.put(&items.attempts);
    writer.put(&items.forgiven);
    writer.put_history(items.history.as_ref());
    writer.put_origin(items.origin);
}

/// Each time as its distance from the one before.
fn store_times(times: Option<&Column<Timestamp>>, count: u32, writer: &mut Writer<'_>) {
    let base = writer.base;
    match times {
        None => writer.put(&Values::None),
        Some(Column::Uniform(time)) => {
            writer.put(&Values::One);
            writer.put_time(*time);
        }
        Some(each @ Column::Each { .. }) => {
            writer.put(&Values::Each);
            each.slice(count)
                .iter()
                .for_each(|time| writer.put_base(*time));
        }
    }
    writer.base = base;
}

fn load_items(reader: &mut Reader<'_>) -> Result<Items, DecodeError> {
    let (gap, count): (u64, u32) = reader.take()?;
    let first = ItemId(reader.end.get().saturating_add(gap));
    let end = first.get().checked_add(u64::from(count));
    ensure(count > 0 && end.is_some(), "a run has items")?;
    reader.end = first.plus(u64::from(count));
    let sizes = load_column(reader, count, Reader::take)?;
    let sizes = required(sizes, "items have sizes")?;
    let published_at = required(load_times(reader, count)?, "items were published at a time")?;
    reader.base = published_at.at(0);
    let expires_at = load_times(reader, count)?;
    let (attempts, forgiven): (u32, u32) = reader.take()?;
    let history = reader.history()?;
    let origin = reader.origin()?;
    let ascends = |at: &Column<Timestamp>| at.slice(count).is_sorted();
    ensure(
        expires_at.as_ref().is_none_or(ascends),
        "expiries of a run ascend",
    )?;
    ensure(
        forgiven <= attempts && attempts < u32::MAX / 2,
        "attempts add up",
    )?;
    Ok(Items {
        first,
        count,
        sizes,
        published_at,
        expires_at,
        attempts,
        forgiven,
        history,
        origin,
    })
}

fn required<T>(value: Option<T>, rule: &'static str) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::Inconsistent { rule })
}

fn load_times(
    reader: &mut Reader<'_>,
    count: u32,
) -> Result<Option<Column<Timestamp>>, DecodeError> {
    let base = reader.base;
    let times = load_column(reader, count, Reader::base);
    reader.base = base;
    times
}

fn load_column<'a, T>(
    reader: &mut Reader<'a>,
    count: u32,
    value: impl Fn(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<Column<T>>, DecodeError> {
    let column = match reader.take()? {
        Values::None => return Ok(None),
        Values::One => Column::Uniform(value(reader)?),
        Values::Each => {
            let mut all = reader.room(u64::from(count));
            for _ in 0..count {
                all.push(value(reader)?);
            }
            Column::Each {
                all: all.into(),
                offset: 0,
            }
        }
    };
    Ok(Some(column))
}

impl StoredPhase for Scheduled {
    fn store<'a>(&'a self, writer: &mut Writer<'a>) {
        writer.put_time(self.since);
        writer.put_time(self.due);
    }

    fn load(reader: &mut Reader<'_>, _: &Items) -> Result<Self, DecodeError> {
        Ok(Self {
            since: reader.time()?,
            due: reader.time()?,
        })
    }
}

impl StoredPhase for Ready {
    fn store<'a>(&'a self, writer: &mut Writer<'a>) {
        match self.since {
            Since::Published => writer.put(&false),
            Since::At(at) => {
                writer.put(&true);
                writer.put_time(at);
            }
        }
    }

    fn load(reader: &mut Reader<'_>, _: &Items) -> Result<Self, DecodeError> {
        let since = if reader.take()? {
            Since::At(reader.time()?)
        } else {
            Since::Published
        };
        Ok(Self { since })
    }
}

impl StoredPhase for Lease {
    fn store<'a>(&'a self, writer: &mut Writer<'a>) {
        writer.put(&(self.session, self.first_seq));
        writer.put_name(&self.consumer);
        writer.put_time(self.ready_at);
        writer.put_time(self.leased_at);
        writer.put_time(self.deadline);
        writer.put(&self.orphaned);
    }

    fn load(reader: &mut Reader<'_>, items: &Items) -> Result<Self, DecodeError> {
        ensure(items.spent() > 0, "a lease is an attempt")?;
        let one_expiry = |at: &Column<Timestamp>| at.same(items.count) == items.count;
        let one_expiry = items.expires_at.as_ref().is_none_or(one_expiry);
        ensure(one_expiry, "items that are leased together expire together")?;
        let (session, first_seq): (SessionId, u64) = reader.take()?;
        ensure(
            first_seq < COUNTER_MAX,
            "lease numbers are far from their end",
        )?;
        Ok(Self {
            session,
            first_seq,
            consumer: reader.name()?,
            ready_at: reader.time()?,
            leased_at: reader.time()?,
            deadline: reader.time()?,
            orphaned: reader.take()?,
        })
    }
}

impl StoredPhase for Dead {
    fn store<'a>(&'a self, writer: &mut Writer<'a>) {
        writer.put_time(self.since);
        writer.put(&self.reason);
    }

    fn load(reader: &mut Reader<'_>, _: &Items) -> Result<Self, DecodeError> {
        Ok(Self {
            since: reader.time()?,
            reason: reader.take()?,
        })
    }
}
