//! Cuts a byte stream into records, never holding more than one of them.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::{AnyDelimiterCodec, AnyDelimiterCodecError, Decoder};

const LENGTH_BYTES: usize = size_of::<u32>();

/// Why the next record cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CutError {
    #[error("longer than allowed")]
    TooLong,
    #[error("cut off by the end of the input")]
    Truncated,
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// How records are told apart. Both hold at most `max_bytes` of one. tokio-util's codec for length-prefixed records is
/// not used: it does not tell an input that ends just behind a length from one that ends well.
#[derive(Debug)]
pub(crate) enum RecordCodec {
    Lines {
        codec: AnyDelimiterCodec,
        max_bytes: usize,
    },
    LengthPrefixed {
        max_bytes: usize,
    },
}

impl RecordCodec {
    /// Lines that end in LF or CRLF, or with the input.
    pub(crate) fn lines(max_bytes: usize) -> Self {
        // One byte more than a line may have: the CR that is taken off afterwards.
        let codec =
            AnyDelimiterCodec::new_with_max_length(b"\n".to_vec(), Vec::new(), max_bytes + 1);
        Self::Lines { codec, max_bytes }
    }

    /// Records with their length before them: 4 bytes, big-endian.
    pub(crate) const fn length_prefixed(max_bytes: usize) -> Self {
        Self::LengthPrefixed { max_bytes }
    }
}

impl Decoder for RecordCodec {
    type Item = Bytes;
    type Error = CutError;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, CutError> {
        match self {
            Self::Lines { codec, max_bytes } => line(codec.decode(input), *max_bytes),
            Self::LengthPrefixed { max_bytes } => length_prefixed(input, *max_bytes),
        }
    }

    fn decode_eof(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, CutError> {
        match self {
            Self::Lines { codec, max_bytes } => line(codec.decode_eof(input), *max_bytes),
            Self::LengthPrefixed { .. } => match self.decode(input)? {
                None if !input.is_empty() => Err(CutError::Truncated),
                record => Ok(record),
            },
        }
    }
}

fn line(
    cut: Result<Option<Bytes>, AnyDelimiterCodecError>,
    max_bytes: usize,
) -> Result<Option<Bytes>, CutError> {
    let line = match cut {
        Ok(line) => line,
        Err(AnyDelimiterCodecError::MaxChunkLengthExceeded) => return Err(CutError::TooLong),
        Err(AnyDelimiterCodecError::Io(error)) => return Err(CutError::Read(error)),
    };
    let line = line.map(|mut line| {
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        line
    });
    match line {
        Some(line) if line.len() > max_bytes => Err(CutError::TooLong),
        line => Ok(line),
    }
}

fn length_prefixed(input: &mut BytesMut, max_bytes: usize) -> Result<Option<Bytes>, CutError> {
    let Some(length) = input.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > max_bytes {
        return Err(CutError::TooLong);
    }
    let whole = LENGTH_BYTES + length;
    if input.len() < whole {
        input.reserve(whole - input.len());
        return Ok(None);
    }
    input.advance(LENGTH_BYTES);
    Ok(Some(input.split_to(length).freeze()))
}
