//! Where items come from: made up (`generate`), or read and cut (`records`).
//!
//! A source yields one [`Record`] at a time and may be dropped at any await. Called by `publish`.

pub(crate) mod codec;
pub(crate) mod generate;
pub(crate) mod records;

use std::io;
use std::path::{Path, PathBuf};

use baton_telemetry::program::progress::Progress;
use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncRead;
use tokio::time::Instant;

use crate::config::SourceConfig;
use crate::pace::Schedule;
use generate::Generator;
use records::{InputError, Records};

/// The longest dedup key that the broker takes.
const DEDUP_KEY_MAX_BYTES: usize = 128;

/// One item to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// From 0.
    pub(crate) index: u64,
    pub(crate) payload: Bytes,
}

type Input = Box<dyn AsyncRead + Send + Unpin>;

/// What `publish` takes its items from.
pub(crate) enum Source {
    Generated(Generator),
    Read(Records<Input>),
}

/// Why there is no input at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub(crate) struct OpenError {
    path: PathBuf,
    source: io::Error,
}

impl Source {
    /// The next record, when it is due or read; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Record>, InputError> {
        match self {
            Self::Generated(generator) => Ok(generator.next().await),
            Self::Read(records) => records.next().await,
        }
    }
}

/// Opens what the configuration names, and a bar for it where its end is known.
pub(crate) async fn open(config: &SourceConfig) -> Result<(Source, Progress), OpenError> {
    match config {
        SourceConfig::Generate {
            count,
            pace,
            size_bytes,
            seed,
        } => {
            let random = seed.map_or_else(rand::make_rng, SmallRng::seed_from_u64);
            let schedule = Schedule::new(*pace, random, Instant::now());
            let progress = count.map_or_else(Progress::hidden, Progress::items);
            Ok((
                Source::Generated(Generator::new(*count, *size_bytes, schedule)),
                progress,
            ))
        }
        SourceConfig::Send {
            file,
            format,
            max_bytes,
        } => {
            let (input, progress) = open_input(file).await?;
            Ok((
                Source::Read(Records::new(input, *format, *max_bytes)),
                progress,
            ))
        }
    }
}

async fn open_input(path: &Path) -> Result<(Input, Progress), OpenError> {
    if path == Path::new("-") {
        return Ok((Box::new(tokio::io::stdin()), Progress::hidden()));
    }
    let opened = async {
        let file = File::open(path).await?;
        let metadata = file.metadata().await?;
        if metadata.is_dir() {
            Err(io::ErrorKind::IsADirectory.into())
        } else {
            Ok((file, metadata))
        }
    };
    match opened.await {
        Ok((file, metadata)) if metadata.is_file() => {
            Ok((Box::new(file), Progress::bytes(metadata.len())))
        }
        Ok((file, _)) => Ok((Box::new(file), Progress::hidden())),
        Err(source) => Err(OpenError {
            path: path.to_owned(),
            source,
        }),
    }
}

/// A dedup key that equal payloads share: the payload where it can be one, else its SHA-256 in hex.
pub(crate) fn dedup_key(payload: &[u8]) -> String {
    match str::from_utf8(payload) {
        // An empty key would be none.
        Ok(text) if (1..=DEDUP_KEY_MAX_BYTES).contains(&text.len()) => text.to_owned(),
        _ => Sha256::digest(payload)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_line_is_its_own_dedup_key() {
        assert_eq!(dedup_key(b"order 17"), "order 17");
        assert_eq!(dedup_key(&[b'x'; 128]), "x".repeat(128));
    }

    #[test]
    fn what_cannot_be_a_key_is_hashed() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(dedup_key(b""), empty);
        for payload in [&[b'x'; 129][..], &[0xff, 0xfe]] {
            assert_eq!(dedup_key(payload).len(), 64);
        }
    }
}
