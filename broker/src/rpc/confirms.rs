//! Confirms on the wire: the queue's answers and what was refused at the edge, put together by sequence.

use baton_proto::opaque as wire;

use crate::engine::{Fate, PublishPiece, StreamBatch};
use crate::error::Error;

/// Writes one piece: what the queue answered, and what was refused at the edge in between, by sequence.
pub(super) fn confirms(piece: &PublishPiece, out: &mut Vec<wire::PublishConfirm>) {
    let batch = &*piece.batch;
    let rows = piece.fates.iter().map(|fate| Row::of(piece.from, fate));
    if batch.refused.is_empty() {
        out.extend(rows.map(|row| row.confirm(piece, row.position)));
        return;
    }
    let written = out.len();
    let indexes = accepted_indexes(batch);
    for row in rows {
        let singles = (0..row.count).map(|at| row.single(at));
        out.extend(singles.map(|single| single.confirm(piece, indexes[single.position])));
    }
    let after = |position: usize| {
        if position == 0 {
            0
        } else {
            indexes[position - 1] + 1
        }
    };
    let end = if piece.to == indexes.len() {
        batch.count as usize
    } else {
        after(piece.to)
    };
    for (index, error) in &batch.refused {
        if (after(piece.from)..end).contains(&(*index as usize)) {
            out.push(Row::refused(0, 1, error).confirm(piece, *index as usize));
        }
    }
    out[written..].sort_by_key(|confirm| confirm.first_sequence);
}

/// Indexes within the batch of the items that the queue saw.
fn accepted_indexes(batch: &StreamBatch) -> Vec<usize> {
    let mut refused = batch
        .refused
        .iter()
        .map(|(index, _)| *index as usize)
        .peekable();
    (0..batch.count as usize)
        .filter(|index| refused.next_if_eq(index).is_none())
        .collect()
}

/// Items in a row with one fate, as a confirm has it.
#[derive(Clone, Copy)]
struct Row<'a> {
    position: usize,
    count: usize,
    first_id: u64,
    duplicate: bool,
    error: Option<&'a Error>,
}

impl<'a> Row<'a> {
    fn of(from: usize, fate: &'a Fate) -> Self {
        match fate {
            Fate::Stored(run) => Self {
                position: from + run.position,
                count: run.count as usize,
                first_id: run.first.map_or(0, |first| first.0),
                duplicate: run.duplicate,
                error: None,
            },
            Fate::Refused {
                position,
                count,
                error,
            } => Self::refused(from + position, *count, error),
        }
    }

    fn refused(position: usize, count: usize, error: &'a Error) -> Self {
        Self {
            position,
            count,
            first_id: 0,
            duplicate: false,
            error: Some(error),
        }
    }

    /// One of its items.
    fn single(&self, at: usize) -> Self {
        let first_id = if self.first_id == 0 {
            0
        } else {
            self.first_id + at as u64
        };
        Self {
            position: self.position + at,
            count: 1,
            first_id,
            ..*self
        }
    }

    fn confirm(&self, piece: &PublishPiece, index: usize) -> wire::PublishConfirm {
        wire::PublishConfirm {
            first_sequence: piece.batch.first_sequence + index as u64,
            count: u32::try_from(self.count).unwrap_or(u32::MAX),
            first_item_id: self.first_id,
            duplicate: self.duplicate,
            error: self.error.map_or(0, |error| error.code() as i32),
            error_message: self.error.map(Error::to_string).unwrap_or_default(),
            received_ns: piece.batch.received_ns,
            durable_ns: piece.durable_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use baton_proto::v1::Durability;
    use baton_queue::{ItemId, PublishedRun};
    use tokio::sync::Semaphore;

    use super::*;

    fn piece(refused: &[u32], span: (usize, usize), fates: Vec<Fate>) -> PublishPiece {
        let window = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let refused = refused
            .iter()
            .map(|index| (*index, Error::HelloMissing))
            .collect();
        let batch = StreamBatch {
            first_sequence: 100,
            count: 6,
            refused,
            received_ns: 1,
            window,
        };
        PublishPiece {
            batch: Arc::new(batch),
            from: span.0,
            to: span.1,
            fates,
            durability: Durability::Memory,
            durable_ns: 2,
        }
    }

    fn run(position: usize, count: u32, first: u64) -> Fate {
        Fate::Stored(PublishedRun {
            position,
            count,
            first: Some(ItemId(first)),
            duplicate: false,
        })
    }

    fn written(piece: &PublishPiece) -> Vec<(u64, u32, u64, bool)> {
        let mut out = Vec::new();
        confirms(piece, &mut out);
        out.iter()
            .map(|c| (c.first_sequence, c.count, c.first_item_id, c.error != 0))
            .collect()
    }

    #[test]
    fn a_whole_batch_is_one_confirm() {
        assert_eq!(
            written(&piece(&[], (0, 6), vec![run(0, 6, 7)])),
            [(100, 6, 7, false)]
        );
    }

    #[test]
    fn what_the_queue_refused_follows_what_it_stored() {
        let refused = Fate::Refused {
            position: 1,
            count: 3,
            error: Error::QueueClosed,
        };
        let piece = piece(&[], (2, 6), vec![run(0, 1, 9), refused]);
        assert_eq!(written(&piece), [(102, 1, 9, false), (103, 3, 0, true)]);
    }

    #[test]
    fn items_refused_at_the_edge_stand_between_their_neighbours() {
        let piece = piece(&[0, 3, 5], (0, 3), vec![run(0, 3, 7)]);
        let expected = [
            (100, 1, 0, true),
            (101, 1, 7, false),
            (102, 1, 8, false),
            (103, 1, 0, true),
            (104, 1, 9, false),
            (105, 1, 0, true),
        ];
        assert_eq!(written(&piece), expected);
    }

    #[test]
    fn pieces_of_a_batch_cover_it_once() {
        let first = piece(&[0, 3, 5], (0, 2), vec![run(0, 2, 7)]);
        let second = piece(&[0, 3, 5], (2, 3), vec![run(0, 1, 9)]);
        let mut sequences: Vec<_> = written(&first)
            .into_iter()
            .chain(written(&second))
            .map(|c| c.0)
            .collect();
        sequences.sort_unstable();
        assert_eq!(sequences, [100, 101, 102, 103, 104, 105]);
    }

    #[test]
    fn a_batch_of_nothing_but_refused_items_is_answered() {
        let refused = [0, 1, 2, 3, 4, 5];
        assert_eq!(written(&piece(&refused, (0, 0), vec![])).len(), 6);
    }
}
