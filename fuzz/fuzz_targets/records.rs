//! Whatever bytes a segment and a sidecar have: recovery, scan and reads say what is wrong, and never panic.
//!
//! The first byte chooses: arbitrary bytes behind a valid header; a valid journal with some bytes changed; or frames that
//! verify, with heads and payloads of the fuzzer's choice, which gets behind the checksums.
#![no_main]

use std::sync::{Arc, LazyLock};

use baton_journal::fs::{FaultFs, FileSystem};
use baton_journal::{Batch, Block, Record, Replay, Settings, Step, StreamId, recover, scan};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

const SEGMENT: &str = "0000000001.seg";
const SIDECAR: &str = "0000000001.idx";
const SALT: u64 = 7;
const FIRST_FRAME: usize = 4096;

fn settings() -> Settings {
    let mut settings = Settings::new(|| SALT);
    settings.segment_bytes = 256 << 10;
    settings.spares = 1;
    settings
}

/// The first segment of a small journal: facts, bodies, a checkpoint, two streams, one of them closed.
static VALID: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let fs = FaultFs::new(1);
    let recovered = recover(Arc::new(fs.clone()), settings(), &mut Sink::default());
    let (mut writer, mut keeper, _) = recovered.unwrap().start().unwrap();
    while let Step::Worked = keeper.step().unwrap() {}
    let (one, two) = (StreamId(1), StreamId(2));
    let opened = |stream, name: &'static str| Record::StreamOpened {
        stream,
        name: name.into(),
    };
    let facts = |stream, seq| Record::Facts {
        stream,
        seq,
        payload: vec![5; 20].into(),
    };
    let bodies = |stream, first| Record::Bodies {
        stream,
        block: Block::of(first, &[Bytes::from("one"), Bytes::from("three")]),
    };
    let part = |part| Record::Checkpoint {
        stream: one,
        as_of: 1,
        part,
        parts: 2,
        payload: vec![6; 30].into(),
    };
    for records in [
        vec![opened(one, "a"), facts(one, 1), bodies(one, 1)],
        vec![opened(two, "b"), facts(two, 1), bodies(two, 1)],
        vec![part(0), facts(one, 2)],
        vec![
            part(1),
            bodies(one, 3),
            Record::StreamClosed { stream: two },
        ],
        vec![facts(one, 3)],
    ] {
        let batch = Batch {
            records,
            released: Vec::new(),
        };
        writer.commit(&batch).unwrap();
    }
    let mut bytes = fs.read_file(SEGMENT).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes.truncate((used + 512).next_multiple_of(8));
    bytes
});

/// Needs the first items of every stream.
#[derive(Default)]
struct Sink {
    streams: Vec<StreamId>,
}

impl Replay for Sink {
    fn opened(&mut self, stream: StreamId, _: &[u8]) -> Result<(), String> {
        self.streams.push(stream);
        Ok(())
    }

    fn checkpoint(&mut self, _: StreamId, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn facts(&mut self, _: StreamId, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn needed(&self, stream: StreamId, visit: &mut dyn FnMut(u64, u32)) {
        if stream.0 % 2 == 1 {
            visit(1, 2);
        }
    }
}

/// Records as heads and payloads: 20 bytes of each head, one of its payload's length, the payload.
fn frames(mut input: &[u8]) -> Vec<u8> {
    let mut bytes = VALID[..FIRST_FRAME].to_vec();
    let (mut records, mut chain, mut commits) = (0_u32, 0_u32, 0_u64);
    let start = frame(&mut bytes, [1, 0, 0, 0], 0, 0, 0, 0, &[0; 16]);
    (records, chain) = (
        records + 1,
        crc32c::crc32c_append(chain, &start.to_le_bytes()),
    );
    while let Some((head, rest)) = input.split_first_chunk::<12>() {
        let length = usize::from(head[11]).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        input = rest;
        let kind = head[0] % 10;
        if kind == 8 || kind == 9 {
            commits += 1;
            let mut payload = 1_u64.to_le_bytes().to_vec();
            payload.extend_from_slice(&SALT.to_le_bytes());
            let number = commits + u64::from(kind == 9 && head[1] > 200);
            frame(
                &mut bytes,
                [8, 0, 0, 0],
                0,
                number,
                records,
                chain,
                &payload,
            );
            (records, chain) = (0, 0);
            continue;
        }
        let number = match head[1] {
            255 => u64::MAX - u64::from(head[2]),
            _ => u64::from(head[2]),
        };
        let count = match head[3] {
            255 => u32::MAX,
            _ => u32::from(head[4]),
        };
        let stream = u32::from(head[5] % 4);
        let extra = u32::from(head[6]);
        let crc = frame(
            &mut bytes,
            [kind, 0, 0, 0],
            stream,
            number,
            count,
            extra,
            payload,
        );
        (records, chain) = (
            records + 1,
            crc32c::crc32c_append(chain, &crc.to_le_bytes()),
        );
    }
    bytes
}

/// Appends a frame that verifies; its checksum. docs/FORMAT.md has the layout.
fn frame(
    bytes: &mut Vec<u8>,
    kind: [u8; 4],
    stream: u32,
    number: u64,
    count: u32,
    extra: u32,
    payload: &[u8],
) -> u32 {
    let length = (payload.len() as u32).to_le_bytes();
    let mut rest = kind.to_vec();
    rest.extend_from_slice(&stream.to_le_bytes());
    rest.extend_from_slice(&number.to_le_bytes());
    rest.extend_from_slice(&count.to_le_bytes());
    rest.extend_from_slice(&extra.to_le_bytes());
    let mut crc = crc32c::crc32c(&1_u64.to_le_bytes());
    for part in [&SALT.to_le_bytes()[..], &length, &rest, payload] {
        crc = crc32c::crc32c_append(crc, part);
    }
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&rest);
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    crc
}

fn mutated(input: &[u8]) -> Vec<u8> {
    let mut bytes = VALID.clone();
    for change in input.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        // The header, then what follows it.
        let at = if at < 48 { at } else { FIRST_FRAME + at };
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= change[2];
        }
    }
    bytes
}

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    let fs = FaultFs::new(1);
    let segment = match mode % 4 {
        0 => [&VALID[..FIRST_FRAME], rest].concat(),
        1 => mutated(rest),
        2 => frames(rest),
        _ => {
            fs.write_file(SIDECAR, rest);
            VALID.clone()
        }
    };
    fs.write_file(SEGMENT, &segment);
    let mut seen = 0_u64;
    let scanned = scan(&fs, &mut |_| seen += 1);
    let mut sink = Sink::default();
    let fs: Arc<dyn FileSystem> = Arc::new(fs);
    let Ok(recovered) = recover(fs, settings(), &mut sink) else {
        return;
    };
    scanned.expect("what recovers can be scanned");
    let reader = recovered.reader();
    for stream in sink.streams {
        drop(reader.read(stream, 1, 2, 1 << 20));
    }
});
