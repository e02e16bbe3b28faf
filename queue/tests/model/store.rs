//! The queue and its events as bytes, along every history.

use baton_queue::{Event, Queue, decode_events, encode_events};

use crate::drive::Harness;

impl Harness {
    /// Events reach one queue as they come back from bytes.
    pub(crate) fn read(&mut self, events: &[Event]) {
        let mut bytes = Vec::new();
        encode_events(events, &mut bytes);
        let mut read = Vec::new();
        decode_events(&bytes, &mut |event| read.push(event)).expect("they were just encoded");
        assert_eq!(read, events);
        read.iter().for_each(|event| self.reader.apply(event));
    }

    /// From now on the queue under test is one that was restored; the replicas are not, and must stay equal to it.
    pub(crate) fn restore(&mut self) {
        let mut bytes = Vec::new();
        self.queue.snapshot(&mut bytes);
        let restored = Queue::restore(&bytes).expect("it was just written");
        assert!(restored == self.queue, "a snapshot is complete");
        let mut again = Vec::new();
        restored.snapshot(&mut again);
        assert_eq!(again, bytes, "the same state, the same bytes");
        self.queue = restored;
    }

    pub(crate) fn restart(&mut self, events: &mut Vec<Event>) {
        self.restore();
        self.queue.restart(self.model.now, events);
        self.model.restart();
    }
}
