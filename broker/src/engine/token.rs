//! Lease tokens: what a delivery carries so that it can be settled from any connection.
//!
//! 24 bytes, big-endian: the queue's epoch (random, so that a token of another queue or an earlier life never matches), the
//! session, and the lease's number within it. Opaque to clients.

use baton_queue::SessionId;
use bytes::{BufMut as _, Bytes, BytesMut};

/// Bytes of a token.
const TOKEN_BYTES: usize = 24;

/// Marks the tokens of one life of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch(pub u64);

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// A lease of this queue.
    Lease(SessionId, u64),
    /// A lease of another queue or life: lost.
    OtherEpoch,
    /// Not one of ours.
    Invalid,
}

impl Epoch {
    /// Tokens of `count` leases in a row, sharing one allocation.
    pub(super) fn tokens(
        self,
        session: SessionId,
        first: u64,
        count: u32,
    ) -> impl Iterator<Item = Bytes> {
        let mut all = BytesMut::with_capacity(TOKEN_BYTES * count as usize);
        for seq in (first..).take(count as usize) {
            all.put_u64(self.0);
            all.put_u64(session.0);
            all.put_u64(seq);
        }
        let mut all = all.freeze();
        (0..count).map(move |_| all.split_to(TOKEN_BYTES))
    }

    /// Reads what a client sent.
    #[must_use]
    pub fn read(self, token: &[u8]) -> Token {
        let Ok(token) = <&[u8; TOKEN_BYTES]>::try_from(token) else {
            return Token::Invalid;
        };
        let [epoch, session, seq] = [0, 8, 16].map(|at| {
            let mut word = [0; 8];
            word.copy_from_slice(&token[at..at + 8]);
            u64::from_be_bytes(word)
        });
        if epoch != self.0 {
            return Token::OtherEpoch;
        }
        Token::Lease(SessionId(session), seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_in_its_own_epoch_only() {
        let tokens: Vec<_> = Epoch(7).tokens(SessionId(3), 10, 2).collect();
        assert_eq!(tokens.len(), 2);
        assert_eq!(Epoch(7).read(&tokens[1]), Token::Lease(SessionId(3), 11));
        assert_eq!(Epoch(8).read(&tokens[1]), Token::OtherEpoch);
        assert_eq!(Epoch(7).read(&tokens[1][1..]), Token::Invalid);
        assert_eq!(Epoch(7).read(b""), Token::Invalid);
    }
}
