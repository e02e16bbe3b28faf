//! Settles as ranges: many deliveries with one fate are one entry on the wire.
//!
//! Owns both directions: commands to ranges, and the broker's ranges back to one outcome for each command. Pure.

use baton_proto::opaque::{DeliverySettle, HandlerStamps, SettledRange, delivery_settle};

use crate::error::Error;
use crate::settle::{Action, Command, Settled, outcome};

/// Ranges of commands that are sorted by delivery.
pub(super) fn coalesce(commands: &[Command]) -> Vec<DeliverySettle> {
    let runs = commands.chunk_by(|a, b| {
        a.tag.delivery + 1 == b.tag.delivery
            && a.action == b.action
            && a.stamps.is_some() == b.stamps.is_some()
    });
    runs.filter_map(range).collect()
}

fn range(run: &[Command]) -> Option<DeliverySettle> {
    let (first, last) = (run.first()?, run.last()?);
    let stamps: Vec<HandlerStamps> = run.iter().filter_map(|command| command.stamps).collect();
    Some(DeliverySettle {
        first: first.tag.delivery,
        last: last.tag.delivery,
        stamps,
        action: Some(on_delivery(&first.action)),
    })
}

fn on_delivery(action: &Action) -> delivery_settle::Action {
    match action {
        Action::Ack => delivery_settle::Action::Ack(baton_proto::opaque::Ack {}),
        Action::Nack(nack) => delivery_settle::Action::Nack(nack.clone()),
        Action::Extend(extend) => delivery_settle::Action::Extend(*extend),
    }
}

/// Walks the broker's ranges, which come in request order, in step with the commands.
#[derive(Debug)]
pub(super) struct Outcomes<'a> {
    ranges: std::slice::Iter<'a, SettledRange>,
    current: Option<&'a SettledRange>,
}

impl<'a> Outcomes<'a> {
    pub(super) fn new(ranges: &'a [SettledRange]) -> Self {
        Self {
            ranges: ranges.iter(),
            current: None,
        }
    }

    /// Of this delivery, which is asked for after the ones before it.
    pub(super) fn of(&mut self, delivery: u64) -> Result<Settled, Error> {
        let covers = |range: &SettledRange| range.first <= delivery && delivery <= range.last;
        if !self.current.is_some_and(covers) {
            self.current = self.ranges.next();
        }
        match self.current {
            Some(range) if covers(range) => outcome(range.outcome),
            Some(_) | None => Err(Error::Protocol("a settle without an outcome")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settle::{Nack, Tag};
    use bytes::Bytes;

    fn command(delivery: u64, action: Action) -> Command {
        Command {
            tag: Tag {
                session: 1,
                delivery,
            },
            lease: Bytes::new(),
            action,
            stamps: Some(HandlerStamps::default()),
            reply: None,
            settlement: None,
        }
    }

    #[test]
    fn neighbours_with_one_fate_are_one_range() {
        let nack = || Action::from(Nack::retry());
        let commands = [
            command(1, Action::Ack),
            command(2, Action::Ack),
            command(4, Action::Ack),
            command(5, nack()),
            command(6, nack()),
        ];
        let ranges = coalesce(&commands);
        let bounds: Vec<_> = ranges.iter().map(|r| (r.first, r.last)).collect();
        assert_eq!(bounds, [(1, 2), (4, 4), (5, 6)]);
        assert!(
            ranges
                .iter()
                .all(|r| r.stamps.len() as u64 == r.last - r.first + 1)
        );
    }

    #[test]
    fn each_delivery_gets_its_own_outcome() {
        let range = |first, last, outcome| SettledRange {
            first,
            last,
            outcome,
        };
        let ranges = [range(1, 3, 1), range(7, 7, 3)];
        let mut outcomes = Outcomes::new(&ranges);
        assert_eq!(outcomes.of(1).unwrap(), Settled::Done);
        assert_eq!(outcomes.of(3).unwrap(), Settled::Done);
        assert_eq!(outcomes.of(7).unwrap(), Settled::LeaseLost);
        assert!(matches!(outcomes.of(8), Err(Error::Protocol(_))));
    }
}
