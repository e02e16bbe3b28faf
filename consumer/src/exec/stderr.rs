//! A command's stderr: passed on as it comes, and its end kept for the item's error.

use std::io::Write;

use baton_telemetry::program::progress::Stderr;
use tokio::io::AsyncRead;

use super::child::{Pipe, READ_BYTES};
use crate::verdict::ERROR_MAX_BYTES;

/// Reads all of it, passes it on and gives back its last part.
pub(super) async fn pass_on(mut pipe: Pipe<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut tail = Vec::new();
    let mut chunk = vec![0; READ_BYTES];
    while let Some(read) = pipe.read(&mut chunk).await {
        let said = &chunk[..read];
        // Where nobody reads our stderr, there is nobody to tell.
        let _ = tokio::task::block_in_place(|| Stderr.write_all(said));
        keep_end(&mut tail, said);
    }
    tail
}

/// Appends `said` and drops all but the last [`ERROR_MAX_BYTES`].
fn keep_end(tail: &mut Vec<u8>, said: &[u8]) {
    let said = &said[said.len().saturating_sub(ERROR_MAX_BYTES)..];
    let surplus = (tail.len() + said.len()).saturating_sub(ERROR_MAX_BYTES);
    tail.drain(..surplus);
    tail.extend_from_slice(said);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_kibibyte_is_kept_however_it_comes() {
        let all: Vec<u8> = (0..5000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for chunk_bytes in [1, 7, 1023, 1024, 1025, 3000, 5000] {
            let mut tail = Vec::new();
            for chunk in all.chunks(chunk_bytes) {
                keep_end(&mut tail, chunk);
            }
            assert_eq!(tail, all[5000 - ERROR_MAX_BYTES..], "{chunk_bytes}");
        }
    }

    #[test]
    fn a_short_message_is_kept_whole() {
        let mut tail = Vec::new();
        keep_end(&mut tail, b"no such ");
        keep_end(&mut tail, b"order");
        assert_eq!(tail, b"no such order");
    }
}
