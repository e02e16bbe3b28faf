//! Recovery: queues from checkpoints and facts, by the same `apply` that made them.

use std::collections::BTreeMap;

use baton_journal::{Replay, StreamId};
use baton_queue::{Config, ItemId, Queue, QueueName, Timestamp};

/// A queue as it was when the broker stopped.
#[derive(Debug)]
pub(crate) struct RecoveredQueue {
    pub(crate) stream: StreamId,
    pub(crate) name: QueueName,
    pub(crate) queue: Queue,
    /// Of its last facts.
    pub(crate) last_seq: u64,
}

/// What the journal replays into.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    queues: BTreeMap<StreamId, (QueueName, Queue)>,
    latest: Timestamp,
}

impl Recovery {
    /// The time of the last event.
    pub(crate) fn latest(&self) -> Timestamp {
        self.latest
    }

    /// What was rebuilt.
    pub(crate) fn finish(self, last_seq: impl Fn(StreamId) -> u64) -> Vec<RecoveredQueue> {
        let queues = self.queues.into_iter();
        queues
            .map(|(stream, (name, queue))| {
                let last_seq = last_seq(stream);
                RecoveredQueue {
                    stream,
                    name,
                    queue,
                    last_seq,
                }
            })
            .collect()
    }

    fn queue(&mut self, stream: StreamId) -> Result<&mut Queue, String> {
        let known = self.queues.get_mut(&stream);
        known
            .map(|(_, queue)| queue)
            .ok_or_else(|| "its stream was never opened".to_owned())
    }
}

impl Replay for Recovery {
    fn opened(&mut self, stream: StreamId, name: &[u8]) -> Result<(), String> {
        let name = std::str::from_utf8(name).map_err(|error| error.to_string())?;
        let name: QueueName = name.parse().map_err(|error| format!("{error}"))?;
        self.queues
            .insert(stream, (name, Queue::new(Config::default())));
        Ok(())
    }

    fn checkpoint(&mut self, stream: StreamId, payload: &[u8]) -> Result<(), String> {
        *self.queue(stream)? = Queue::restore(payload).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn facts(&mut self, stream: StreamId, payload: &[u8]) -> Result<(), String> {
        let mut latest = self.latest;
        let queue = self.queue(stream)?;
        let decoded = baton_queue::decode_events(payload, &mut |event| {
            latest = latest.max(event.at());
            queue.apply(&event);
        });
        // Their bodies are the journal's.
        while queue.poll_removed().is_some() {}
        while queue.poll_gone().is_some() {}
        self.latest = latest;
        decoded.map_err(|error| error.to_string())
    }

    fn needed(&self, stream: StreamId, visit: &mut dyn FnMut(u64, u32)) {
        if let Some((_, queue)) = self.queues.get(&stream) {
            queue.unsettled(&mut |first: ItemId, count| visit(first.0, count));
        }
    }
}
