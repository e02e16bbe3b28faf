//! The one task that sends spans to the collector.
//!
//! Owns the queue's far end and the connection. One request is on its way at a time; while it is tried again the queue
//! fills, and what no longer fits is dropped where it was offered. Invariant: what the task holds is settled by its
//! [`Share`], so that a span is counted wherever the task ends. Run by the broker; it takes a worker for about a millisecond
//! per request, to compress it.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::codegen::http::Uri;
use tracing::{info, warn};

use super::collector::Collector;
use super::counters::{Counters, Share};
use super::queue::{ExportHandle, Queued, bounded};
use super::report::{Note, Report};
use super::request::assemble;
use super::resource::Resource;
use super::retry::{Backoff, Verdict, judge};
use super::settings::Settings;
use super::spans::Spans;

/// A request is sent once it has so many spans; its last message may bring more.
const BATCH_SPANS: u64 = 512;

/// Or so many bytes. With the last message it stays below half of what collectors take.
const BATCH_BYTES: usize = 1 << 20;

/// Or once its first span has waited so long.
const BATCH_AFTER: Duration = Duration::from_secs(1);

/// A batch is tried for so long: longer than a collector takes to restart.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// Once told to end, so much time is left to send what waits: orchestrators kill after 10 s.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// Sends spans to a collector.
pub struct Exporter {
    queue: mpsc::Receiver<Queued>,
    collector: Collector,
    endpoint: Uri,
    resource: Resource,
    counters: Arc<Counters>,
    backoff: Backoff,
    report: Report,
    /// Told to end.
    flushing: bool,
}

/// What goes into one request.
struct Batch {
    spans: Vec<Spans>,
    bytes: usize,
    share: Share,
}

impl Exporter {
    /// One that sends nothing before it runs, and where to hand spans over.
    #[must_use]
    pub fn new(settings: Settings) -> (Self, ExportHandle) {
        let collector = Collector::over_grpc(&settings.destination);
        Self::with_collector(settings, collector)
    }

    fn with_collector(settings: Settings, collector: Collector) -> (Self, ExportHandle) {
        let (handle, queue) = bounded(settings.queue_bytes);
        let exporter = Self {
            queue,
            collector,
            endpoint: settings.destination.endpoint,
            resource: settings.resource,
            counters: handle.shared_counters(),
            backoff: Backoff::new(),
            report: Report::default(),
            flushing: false,
        };
        (exporter, handle)
    }

    /// Exports until `shutdown` is cancelled or the last handle is gone, and then what still waits: for 5 s at most. What
    /// is left then counts as failed.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let deadline = async {
            shutdown.cancelled().await;
            sleep(FLUSH_WITHIN).await;
        };
        tokio::select! {
            () = self.export_all(&shutdown) => {}
            () = deadline => {}
        }
        let (counters, failed) = (Arc::clone(&self.counters), self.counters.failed());
        drop(self);
        let left = counters.failed() - failed;
        if left > 0 {
            warn!(
                spans = left,
                "trace export ended before all spans were sent"
            );
        }
    }

    async fn export_all(&mut self, shutdown: &CancellationToken) {
        while let Some(batch) = self.next_batch(shutdown).await {
            self.export(batch, shutdown).await;
        }
    }

    /// None: there will be no more.
    async fn next_batch(&mut self, shutdown: &CancellationToken) -> Option<Batch> {
        let never = std::future::pending();
        let mut batch = Batch::of(self.next(shutdown, never).await?);
        let due = sleep(BATCH_AFTER);
        tokio::pin!(due);
        while !batch.is_full() {
            let Some(queued) = self.next(shutdown, due.as_mut()).await else {
                break;
            };
            batch.add(queued);
        }
        Some(batch)
    }

    /// None: it is due, or there will be no more.
    async fn next(
        &mut self,
        shutdown: &CancellationToken,
        due: impl Future<Output = ()>,
    ) -> Option<Queued> {
        tokio::select! {
            biased;
            queued = self.queue.recv() => return queued,
            () = shutdown.cancelled(), if !self.flushing => self.begin_flush(),
            () = due => return None,
        }
        // Closed: this waits for nothing.
        self.queue.recv().await
    }

    fn begin_flush(&mut self) {
        self.flushing = true;
        self.queue.close();
        self.backoff = Backoff::new();
    }

    async fn export(&mut self, batch: Batch, shutdown: &CancellationToken) {
        let (request, share) = batch.into_request(&self.resource);
        let started = Instant::now();
        loop {
            let status = match self.collector.export(request.clone()).await {
                Ok(answer) => return self.answered(share, answer),
                Err(status) => status,
            };
            let Verdict::Retry(wish) = judge(&status) else {
                self.backoff = Backoff::new();
                let all = share.spans();
                share.answered(all);
                return self.failed(&status);
            };
            let delay = self.backoff.delay(wish, rand::random());
            if started.elapsed() + delay > GIVE_UP_AFTER {
                drop(share);
                return self.failed(&status);
            }
            self.failed(&status);
            self.pause(delay, shutdown).await;
        }
    }

    /// Shorter if there is no more time to wait.
    async fn pause(&mut self, delay: Duration, shutdown: &CancellationToken) {
        tokio::select! {
            () = sleep(delay) => {}
            () = shutdown.cancelled(), if !self.flushing => self.begin_flush(),
        }
    }

    fn answered(&mut self, share: Share, answer: ExportTraceServiceResponse) {
        self.backoff = Backoff::new();
        let partial = answer.partial_success.unwrap_or_default();
        share.answered(u64::try_from(partial.rejected_spans).unwrap_or(0));
        let now = Instant::now();
        if (partial.rejected_spans > 0 || !partial.error_message.is_empty())
            && self.report.remarked(now)
        {
            let (spans, message) = (partial.rejected_spans, partial.error_message);
            warn!(endpoint = %self.endpoint, rejected = spans, message, "the trace collector has a remark");
        }
        let note = self.report.succeeded(now, self.counters.lost());
        self.tell(note, None);
    }

    fn failed(&mut self, status: &Status) {
        let note = self.report.failed(Instant::now(), self.counters.lost());
        self.tell(note, Some(status));
    }

    fn tell(&self, note: Option<Note>, status: Option<&Status>) {
        let endpoint = &self.endpoint;
        match note {
            None => {}
            Some(Note::Failing { lost }) => {
                let status = status.map(told).unwrap_or_default();
                warn!(%endpoint, lost, status, "traces cannot be exported");
            }
            Some(Note::Losing { lost }) => {
                warn!(%endpoint, lost, "traces are exported, but not all of them");
            }
            Some(Note::Resumed { lost }) => info!(%endpoint, lost, "traces are exported again"),
        }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter")
            .field("endpoint", &self.endpoint)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Batch {
    fn of(queued: Queued) -> Self {
        Self {
            bytes: queued.spans.encoded.len(),
            spans: vec![queued.spans],
            share: queued.share,
        }
    }

    fn is_full(&self) -> bool {
        self.share.spans() >= BATCH_SPANS || self.bytes >= BATCH_BYTES
    }

    fn add(&mut self, queued: Queued) {
        self.bytes += queued.spans.encoded.len();
        self.spans.push(queued.spans);
        self.share.join(queued.share);
    }

    fn into_request(self, own: &Resource) -> (Bytes, Share) {
        (Bytes::from(assemble(&self.spans, own)), self.share)
    }
}

/// A status with its causes: "transport error" alone says nothing.
fn told(status: &Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    let mut cause = status.source();
    while let Some(it) = cause {
        text.push_str(": ");
        text.push_str(&it.to_string());
        cause = it.source();
    }
    text
}

#[cfg(test)]
mod tests;
