//! What a caller makes of facts: a model that tells any lost, repeated or reordered one.

use std::collections::{BTreeMap, BTreeSet};

use baton_journal::{Replay, StreamId};

/// A stream's state, and a digest of every fact that led to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) name: Vec<u8>,
    pub(crate) seq: u64,
    pub(crate) digest: u64,
    pub(crate) next_item: u64,
    pub(crate) needed: BTreeSet<u64>,
}

impl Stream {
    /// Facts are "p first count" and "r first count".
    pub(crate) fn apply(&mut self, payload: &[u8]) {
        self.seq += 1;
        for byte in payload {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let text = std::str::from_utf8(payload).unwrap();
        let words: Vec<&str> = text.split(' ').collect();
        let (first, count): (u64, u64) = (words[1].parse().unwrap(), words[2].parse().unwrap());
        for item in first..first + count {
            match words[0] {
                "p" => assert!(self.needed.insert(item)),
                _ => assert!(self.needed.remove(&item)),
            }
        }
        if words[0] == "p" {
            self.next_item = first + count;
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = format!("{} {} {}", self.seq, self.digest, self.next_item);
        self.needed
            .iter()
            .for_each(|item| text.push_str(&format!(" {item}")));
        text.into_bytes()
    }

    fn decode(&mut self, payload: &[u8]) {
        let text = std::str::from_utf8(payload).unwrap();
        let mut words = text.split(' ').map(|word| word.parse().unwrap());
        self.seq = words.next().unwrap();
        self.digest = words.next().unwrap();
        self.next_item = words.next().unwrap();
        self.needed = words.collect();
    }
}

/// All streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) streams: BTreeMap<StreamId, Stream>,
}

impl Replay for State {
    fn opened(&mut self, stream: StreamId, name: &[u8]) -> Result<(), String> {
        let name = name.to_vec();
        let new = Stream {
            name,
            ..Stream::default()
        };
        assert_eq!(self.streams.insert(stream, new), None, "opened once");
        Ok(())
    }

    fn checkpoint(&mut self, stream: StreamId, payload: &[u8]) -> Result<(), String> {
        let stream = self.streams.get_mut(&stream).unwrap();
        assert_eq!(stream.seq, 0, "a checkpoint comes first");
        stream.decode(payload);
        Ok(())
    }

    fn facts(&mut self, stream: StreamId, payload: &[u8]) -> Result<(), String> {
        self.streams.get_mut(&stream).unwrap().apply(payload);
        Ok(())
    }

    fn needed(&self, stream: StreamId, visit: &mut dyn FnMut(u64, u32)) {
        for item in &self.streams[&stream].needed {
            visit(*item, 1);
        }
    }
}

/// The body of an item: its length and bytes follow from what it is.
pub(crate) fn body(stream: StreamId, item: u64) -> Vec<u8> {
    let mut random = Random(u64::from(stream.0) << 40 | item);
    let length = match random.below(40) {
        0 => 20_000 + random.below(20_000),
        1..10 => random.below(2000),
        _ => random.below(60),
    };
    (0..length).map(|_| random.below(256) as u8).collect()
}

/// The same numbers for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}
