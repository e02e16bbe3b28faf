//! A queue's commits on their way into the journal: events become facts, blocks become bodies, snapshots checkpoints.

use std::sync::Arc;

use baton_journal::{Reader, Record, Released, StreamId};
use baton_proto::v1::Durability;
use baton_queue::{Event, QueueName};
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::link::{Link, Links};
use super::mailbox::{Mailbox, Submission};
use crate::engine::commit::{Commit, CommitPosition, CommitProgress, CommitTarget};
use crate::limits::{BYTES_UNDER_WAY_MAX, COMMIT_BYTES, COMMITS_UNDER_WAY_MAX};

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct JournalTarget {
    link: Arc<Link>,
    links: Arc<Links>,
    mailbox: Arc<Mailbox>,
    journal: Reader,
    /// The queue's name, until its first commit.
    opening: Option<Bytes>,
    /// Of the last facts.
    seq: u64,
}

impl JournalTarget {
    pub(super) fn new(
        stream: StreamId,
        links: &Arc<Links>,
        mailbox: Arc<Mailbox>,
        journal: Reader,
    ) -> Self {
        let link = Arc::new(Link::new(stream));
        links.add(&link);
        Self {
            link,
            links: Arc::clone(links),
            mailbox,
            journal,
            opening: None,
            seq: 0,
        }
    }

    pub(super) fn opening(mut self, name: &QueueName) -> Self {
        self.opening = Some(Bytes::copy_from_slice(name.as_str().as_bytes()));
        self
    }

    pub(super) fn after(mut self, seq: u64) -> Self {
        self.seq = seq;
        self
    }

    pub(in crate::engine) fn stream(&self) -> StreamId {
        self.link.stream
    }

    /// The journal's threads wake the queue's actor by this.
    pub(in crate::engine) fn wakes(&self, wake: &Arc<Notify>) {
        self.link.wakes(Arc::clone(wake));
    }

    /// What a turn writes, cut where it is large. The bodies are in the first piece, what is said of the whole in the last.
    fn pieces(&mut self, commit: &Commit) -> Vec<Vec<Record>> {
        let stream = self.link.stream;
        let mut records = Vec::with_capacity(2 + commit.blocks.len());
        records.extend(
            self.opening
                .take()
                .map(|name| Record::StreamOpened { stream, name }),
        );
        records.extend(commit.blocks.iter().map(|block| {
            let block = block.clone();
            Record::Bodies { stream, block }
        }));
        let mut pieces = Vec::new();
        let mut fact_bytes = 0;
        for events in commit.events.chunks(FACTS_EVENTS_MAX) {
            if fact_bytes >= COMMIT_BYTES {
                pieces.push(std::mem::take(&mut records));
                fact_bytes = 0;
            }
            let record = self.facts(events);
            fact_bytes += payload_bytes(&record);
            records.push(record);
        }
        if commit.last {
            records.push(Record::StreamClosed { stream });
        }
        pieces.push(records);
        pieces
    }

    fn facts(&mut self, events: &[Event]) -> Record {
        self.seq += 1;
        let mut payload = Vec::with_capacity(48 * events.len());
        baton_queue::encode_events(events, &mut payload);
        Record::Facts {
            stream: self.link.stream,
            seq: self.seq,
            payload: payload.into(),
        }
    }

    fn submission(&self, position: CommitPosition, records: Vec<Record>) -> Submission {
        let bytes = records.iter().map(payload_bytes).sum();
        Submission {
            link: Arc::clone(&self.link),
            position,
            records,
            released: Vec::new(),
            bytes,
        }
    }

    /// In commits of their own, so that a large one keeps nobody waiting for long.
    fn checkpoint(&self, position: CommitPosition, snapshot: &Bytes) -> Vec<Submission> {
        let (stream, as_of) = (self.link.stream, self.seq);
        let parts = snapshot.len().div_ceil(COMMIT_BYTES).max(1);
        let record = |part: usize| Record::Checkpoint {
            stream,
            as_of,
            part: u32::try_from(part).expect("a snapshot is in memory"),
            parts: u32::try_from(parts).expect("a snapshot is in memory"),
            payload: snapshot
                .slice(part * COMMIT_BYTES..snapshot.len().min((part + 1) * COMMIT_BYTES)),
        };
        (0..parts)
            .map(|part| self.submission(position, vec![record(part)]))
            .collect()
    }
}

impl Drop for JournalTarget {
    fn drop(&mut self) {
        self.links.remove(self.link.stream);
    }
}

impl CommitTarget for JournalTarget {
    fn submit(&mut self, mut commit: Commit) -> Option<Vec<Event>> {
        let stream = self.link.stream;
        let before = CommitPosition(commit.position.0 - 1);
        let pieces = self.pieces(&commit);
        let mut submissions: Vec<_> = pieces
            .into_iter()
            .map(|records| self.submission(before, records))
            .collect();
        if let Some(last) = submissions.last_mut() {
            last.position = commit.position;
            let released = commit.released.drain(..);
            last.released = released
                .map(|(first, count)| Released {
                    stream,
                    first,
                    count,
                })
                .collect();
        }
        let checkpoint = match &commit.snapshot {
            Some(snapshot) if self.seq > 0 && !commit.last => {
                self.checkpoint(commit.position, snapshot)
            }
            _ => Vec::new(),
        };
        submissions.extend(checkpoint);
        if !self.mailbox.submit(submissions) {
            self.link.fail();
        }
        Some(commit.events)
    }

    fn progress(&self) -> watch::Receiver<CommitProgress> {
        self.link.progress()
    }

    fn durability(&self) -> Durability {
        Durability::Fsynced
    }

    fn is_busy(&self) -> bool {
        let (commits, bytes) = self.link.under_way();
        commits >= COMMITS_UNDER_WAY_MAX
            || bytes >= BYTES_UNDER_WAY_MAX
            || (commits > 0 && self.mailbox.is_full())
    }

    fn has_room(&self) -> bool {
        self.journal.has_room()
    }

    fn wants_snapshot(&mut self) -> bool {
        self.link.takes_snapshot()
    }
}

/// Events of one record of facts: some 10 KB, unless they bring errors or keys along.
const FACTS_EVENTS_MAX: usize = 512;

/// What a record takes in the journal, about.
fn payload_bytes(record: &Record) -> usize {
    const FRAME_BYTES: usize = 40;
    FRAME_BYTES
        + match record {
            Record::StreamOpened { name, .. } => name.len(),
            Record::StreamClosed { .. } => 0,
            Record::Facts { payload, .. } | Record::Checkpoint { payload, .. } => payload.len(),
            Record::Bodies { block, .. } => block.payload().len(),
        }
}
