//! The one interface that every server under test implements.
//!
//! A workload only ever talks to these three traits, so every server does the same work. To add one: implement them in a
//! file of `drivers`, and add a line to `DriverKind` and one to `with_driver!` there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;

/// Name of the queue (stream, tube, ...) that a run uses.
pub(crate) const QUEUE: &str = "compare";

/// Called by a producer each time the server has confirmed an item as stored.
#[derive(Clone)]
pub(crate) struct OnConfirm(Arc<dyn Fn(u64) + Send + Sync>);

impl OnConfirm {
    pub(crate) fn new(act: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(act))
    }

    pub(crate) fn call(&self, id: u64) {
        (self.0)(id);
    }
}

impl fmt::Debug for OnConfirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnConfirm")
    }
}

/// A server under test. One value a run; it may hold a control connection.
pub(crate) trait Driver: Sized + Send + Sync + 'static {
    type Producer: Producer;
    type Consumer: Consumer;

    /// Fails while the server is not up.
    fn connect(url: &str) -> impl Future<Output = Result<Self>> + Send;

    /// What the server says it is.
    fn version(&self) -> impl Future<Output = Result<String>> + Send;

    /// Deletes the queue if it exists and creates it empty.
    fn reset(&self) -> impl Future<Output = Result<()>> + Send;

    /// Opens a connection for one producer with at most `window` unconfirmed items in flight. Without `on_confirm` nobody
    /// wants to know the moment of each confirm, only that all of them came.
    fn producer(
        &self,
        window: usize,
        on_confirm: Option<OnConfirm>,
    ) -> impl Future<Output = Result<Self::Producer>> + Send;

    /// Opens a connection for one consumer that may hold up to `prefetch` unacknowledged items.
    fn consumer(&self, prefetch: usize) -> impl Future<Output = Result<Self::Consumer>> + Send;

    /// How many items the server still holds. Zero at the end proves that the acks arrived.
    fn depth(&self) -> impl Future<Output = Result<u64>> + Send;
}

pub(crate) trait Producer: Send + 'static {
    /// Sends one item; waits only for a free place in the window.
    fn publish(&mut self, id: u64, payload: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Returns once every item published so far is confirmed. The last call.
    fn flush(&mut self) -> impl Future<Output = Result<()>> + Send;
}

pub(crate) trait Consumer: Send + 'static {
    /// Appends the next deliveries to `out`; after about `wait` without any it returns with none.
    fn receive(
        &mut self,
        wait: Duration,
        out: &mut Vec<Bytes>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Acknowledges each item of the last `receive`, one acknowledgement an item.
    fn ack(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Sends out what is buffered and closes the connection.
    fn close(self) -> impl Future<Output = Result<()>> + Send;
}
