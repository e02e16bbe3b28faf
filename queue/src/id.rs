//! Names of things: items, sessions, queues.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::QUEUE_NAME_BYTES_MAX;

/// An item of a queue: 1 for the first, one more for each, in publish order. 0 stands before the first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ItemId(pub u64);

impl ItemId {
    /// No item: the place before the first.
    pub const NONE: Self = Self(0);

    /// The bare number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The id `offset` after this one.
    pub(crate) const fn plus(self, offset: u64) -> Self {
        Self(self.0.saturating_add(offset))
    }

    /// How far this id lies behind `first`, in the same run.
    pub(crate) fn since(self, first: Self) -> u32 {
        u32::try_from(self.0 - first.0).expect("a run counts its items in 32 bits")
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One consumer's stream. Never used twice in a queue.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct SessionId(pub u64);

impl SessionId {
    /// The session of all unary leases. It is always open.
    pub const UNARY: Self = Self(0);

    /// The bare number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Name of a queue: 1 to 128 of `[A-Za-z0-9._-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(Arc<str>);

impl QueueName {
    /// Takes a name that keeps the rules.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(name: &str) -> Result<Self, QueueNameError> {
        if name.is_empty() {
            return Err(QueueNameError::Empty);
        }
        if let Some(found) = name.chars().find(|c| !allowed(*c)) {
            return Err(QueueNameError::Character { found });
        }
        if name.len() > QUEUE_NAME_BYTES_MAX {
            return Err(QueueNameError::TooLong { bytes: name.len() });
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

impl AsRef<str> for QueueName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for QueueName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for QueueName {
    type Err = QueueNameError;

    fn from_str(name: &str) -> Result<Self, QueueNameError> {
        Self::parse(name)
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no name of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QueueNameError {
    /// It has no characters.
    #[error("a queue name is empty")]
    Empty,
    /// It is longer than [`QUEUE_NAME_BYTES_MAX`].
    #[error("a queue name of {bytes} bytes is longer than {QUEUE_NAME_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It has a character outside `[A-Za-z0-9._-]`.
    #[error("a queue name has {found:?}; allowed are letters, digits, '.', '_' and '-'")]
    Character {
        /// The first such character.
        found: char,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_the_documented_alphabet_and_length() {
        let longest = "a".repeat(QUEUE_NAME_BYTES_MAX);
        for good in ["a", "A.b_c-9", longest.as_str()] {
            assert_eq!(QueueName::parse(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(QUEUE_NAME_BYTES_MAX + 1);
        assert_eq!(QueueName::parse(""), Err(QueueNameError::Empty));
        assert_eq!(
            QueueName::parse("a b"),
            Err(QueueNameError::Character { found: ' ' })
        );
        assert_eq!(
            QueueName::parse("ä"),
            Err(QueueNameError::Character { found: 'ä' })
        );
        assert_eq!(
            QueueName::parse(&too_long),
            Err(QueueNameError::TooLong { bytes: 129 })
        );
    }
}
