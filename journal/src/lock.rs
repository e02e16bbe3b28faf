//! What keeps other brokers out, as long as somebody holds it.

use std::fmt::Debug;
use std::io::ErrorKind;
use std::sync::Arc;

use crate::error::Error;
use crate::fs::FileSystem;

/// Clones hold it together.
#[derive(Clone, Debug)]
pub(crate) struct Lock {
    _held: Arc<dyn Debug + Send + Sync>,
}

impl Lock {
    pub(crate) fn take(fs: &dyn FileSystem) -> Result<Self, Error> {
        match fs.lock() {
            Ok(held) => Ok(Self { _held: held.into() }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(Error::Locked),
            Err(source) => Err(Error::io("lock", "the data directory", source)),
        }
    }
}
