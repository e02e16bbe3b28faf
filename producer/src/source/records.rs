//! Reads records from a file or stdin and checks them. What is wrong is said with the number of the line or record.

use bytes::Bytes;
use bytesize::ByteSize;
use futures_util::StreamExt;
use serde::de::IgnoredAny;
use tokio::io::AsyncRead;
use tokio_util::codec::FramedRead;

use super::Record;
use super::codec::{CutError, RecordCodec};
use crate::args::Format;

/// A read of a file is a trip to another thread: worth some bytes.
const READ_BYTES: usize = 128 * 1024;

/// Why the input ends early. Everything before it is published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("{unit} {number} is longer than {max} (--max-payload)")]
    TooLong {
        unit: &'static str,
        number: u64,
        max: ByteSize,
    },
    #[error("{unit} {number} is cut off: the input ends before it does")]
    Truncated { unit: &'static str, number: u64 },
    #[error("line {number} is not valid JSON: {problem}")]
    NotJson { number: u64, problem: String },
    #[error("{unit} {number} cannot be read: {source}")]
    Read {
        unit: &'static str,
        number: u64,
        source: std::io::Error,
    },
}

/// The records of one input.
#[derive(Debug)]
pub(crate) struct Records<R> {
    framed: FramedRead<R, RecordCodec>,
    format: Format,
    max: ByteSize,
    /// Lines or records read so far; blank ones too, since people count those.
    read: u64,
    yielded: u64,
}

impl<R: AsyncRead + Unpin> Records<R> {
    pub(crate) fn new(input: R, format: Format, max_bytes: usize) -> Self {
        let codec = match format {
            Format::Lines | Format::Ndjson => RecordCodec::lines(max_bytes),
            Format::LengthPrefixed => RecordCodec::length_prefixed(max_bytes),
        };
        let framed = FramedRead::with_capacity(input, codec, READ_BYTES);
        Self {
            framed,
            format,
            max: ByteSize::b(max_bytes as u64),
            read: 0,
            yielded: 0,
        }
    }

    /// The next record; none at the end of the input.
    pub(crate) async fn next(&mut self) -> Result<Option<Record>, InputError> {
        loop {
            let Some(cut) = self.framed.next().await else {
                return Ok(None);
            };
            self.read += 1;
            let payload = cut.map_err(|error| self.explain(error))?;
            if self.format == Format::Ndjson {
                if payload.trim_ascii().is_empty() {
                    continue;
                }
                self.check_json(&payload)?;
            }
            let index = self.yielded;
            self.yielded += 1;
            return Ok(Some(Record { index, payload }));
        }
    }

    fn check_json(&self, payload: &Bytes) -> Result<(), InputError> {
        let not_json = |problem| InputError::NotJson {
            number: self.read,
            problem,
        };
        let text = str::from_utf8(payload).map_err(|error| not_json(error.to_string()))?;
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
            // serde_json would add "at line 1": true of the record, misleading for the file.
            let at = format!(" at line {} column {}", error.line(), error.column());
            let problem = error.to_string().replace(&at, "");
            not_json(format!("{problem} at column {}", error.column()))
        })?;
        Ok(())
    }

    fn explain(&self, error: CutError) -> InputError {
        let number = self.read;
        let unit = match self.format {
            Format::Lines | Format::Ndjson => "line",
            Format::LengthPrefixed => "record",
        };
        match error {
            CutError::TooLong => InputError::TooLong {
                unit,
                number,
                max: self.max,
            },
            CutError::Truncated => InputError::Truncated { unit, number },
            CutError::Read(source) => InputError::Read {
                unit,
                number,
                source,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(format: Format, max_bytes: usize, input: &[u8]) -> (Vec<Bytes>, Option<String>) {
        let mut records = Records::new(input, format, max_bytes);
        let mut payloads = Vec::new();
        loop {
            match records.next().await {
                Ok(Some(record)) => payloads.push(record.payload),
                Ok(None) => return (payloads, None),
                Err(error) => return (payloads, Some(error.to_string())),
            }
        }
    }

    fn prefixed(payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap();
        [&length.to_be_bytes(), payload].concat()
    }

    #[tokio::test]
    async fn a_line_is_an_item_without_its_line_end() {
        let (lines, error) = read(Format::Lines, 10, b"one\r\n\ntwo \r\r\nthr\ree\n").await;
        assert_eq!(lines, [&b"one"[..], b"", b"two \r", b"thr\ree"]);
        assert_eq!(error, None);
    }

    #[tokio::test]
    async fn the_last_line_needs_no_line_end() {
        assert_eq!(read(Format::Lines, 10, b"one\ntwo").await.0, ["one", "two"]);
        assert_eq!(
            read(Format::Lines, 10, b"one\ntwo\r").await.0,
            ["one", "two"]
        );
        assert_eq!(read(Format::Lines, 10, b"").await.0, [] as [&str; 0]);
    }

    #[tokio::test]
    async fn lines_may_hold_any_bytes() {
        assert_eq!(
            read(Format::Lines, 10, b"\xff\x00\n").await.0,
            [&b"\xff\x00"[..]]
        );
    }

    #[tokio::test]
    async fn a_line_may_be_as_long_as_allowed_and_no_longer() {
        let whole = read(Format::Lines, 4, b"1234\r\n1234\n1234").await;
        assert_eq!(whole, (vec!["1234".into(); 3], None));
        for input in [&b"1\n2\n12345\n4"[..], b"1\n2\n12345\r\n", b"1\n2\n12345"] {
            let (lines, error) = read(Format::Lines, 4, input).await;
            assert_eq!(lines, ["1", "2"]);
            assert_eq!(error.unwrap(), "line 3 is longer than 4 B (--max-payload)");
        }
    }

    #[tokio::test]
    async fn an_endless_line_is_refused_without_reading_all_of_it() {
        let mut records = Records::new(tokio::io::repeat(b'x'), Format::Lines, 1 << 20);
        let error = records.next().await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 1 is longer than 1.0 MiB (--max-payload)"
        );
    }

    #[tokio::test]
    async fn ndjson_is_checked_line_by_line() {
        let (lines, error) = read(Format::Ndjson, 99, b"{\"a\": 1}\n\n 2\r\n{]\n").await;
        assert_eq!(lines, ["{\"a\": 1}", " 2"]);
        assert_eq!(
            error.unwrap(),
            "line 4 is not valid JSON: key must be a string at column 2"
        );
    }

    #[tokio::test]
    async fn json_has_to_be_utf_8_and_one_value() {
        for input in [&b"\"\xff\""[..], b"1 2", b"{\"a\": 1"] {
            let (_, error) = read(Format::Ndjson, 99, input).await;
            assert!(error.unwrap().starts_with("line 1 is not valid JSON: "));
        }
    }

    #[tokio::test]
    async fn length_prefixed_records_come_out_whole() {
        let input = [prefixed(b"a\nb"), prefixed(b""), prefixed(&[0; 300])].concat();
        let (records, error) = read(Format::LengthPrefixed, 300, &input).await;
        assert_eq!(records, [&b"a\nb"[..], b"", &[0; 300]]);
        assert_eq!(error, None);
    }

    #[tokio::test]
    async fn a_truncated_record_is_an_error_wherever_it_ends() {
        let input = [prefixed(b"one"), prefixed(b"two")].concat();
        for end in 8..14 {
            let (records, error) = read(Format::LengthPrefixed, 10, &input[..end]).await;
            assert_eq!(records, ["one"], "{end}");
            let wanted = "record 2 is cut off: the input ends before it does";
            assert_eq!(error.as_deref(), Some(wanted), "{end}");
        }
        assert_eq!(read(Format::LengthPrefixed, 10, &input[..7]).await.1, None);
    }

    #[tokio::test]
    async fn a_length_over_the_limit_is_refused_before_it_is_read() {
        let (records, error) = read(Format::LengthPrefixed, 1 << 20, b"\xff\xff\xff\xff").await;
        assert!(records.is_empty());
        assert_eq!(
            error.unwrap(),
            "record 1 is longer than 1.0 MiB (--max-payload)"
        );
    }
}
