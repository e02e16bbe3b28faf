//! Traces of items, on their way out: what the ledgers keep is written as spans and handed to the exporter.
//!
//! Called by the queues' actors, which neither wait nor write here: a task of its own writes the spans. What it or the
//! exporter has no room for is counted and gone.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use baton_ledger::account::Account;
use baton_ledger::sampling::Kept;
use baton_ledger::spans::{Identity, count, spans, whole_tree};
use baton_telemetry::host;
use baton_telemetry::otlp::{ExportHandle, Exporter, Form, Resource, to_json};
use baton_telemetry::trace_context::ItemContext;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::Config;
use crate::engine::TraceSink;

/// Items that wait for their spans to be written: what a queue can end at once, and some MiB.
const ITEMS_MAX: usize = 8192;

/// See the module.
#[derive(Debug)]
pub(crate) struct Traces {
    items: mpsc::Sender<(Arc<Account>, Kept)>,
    export: ExportHandle,
}

impl TraceSink for Traces {
    fn keep(&self, account: Arc<Account>, kept: Kept) {
        let kept = (account, kept);
        if let Err(TrySendError::Full((account, _)) | TrySendError::Closed((account, _))) =
            self.items.try_send(kept)
        {
            self.export.lost(count(&account));
        }
    }
}

/// Writes the spans of items until the last sink is gone, or `stop`; and then of those that wait.
async fn write(
    mut items: mpsc::Receiver<(Arc<Account>, Kept)>,
    export: ExportHandle,
    identity: Identity,
    stop: CancellationToken,
) {
    /// In a row: a worker is taken for less than a millisecond.
    const ITEMS: usize = 64;
    let mut some = Vec::with_capacity(ITEMS);
    loop {
        let taken = tokio::select! {
            biased;
            taken = items.recv_many(&mut some, ITEMS) => taken,
            () = stop.cancelled(), if !items.is_closed() => {
                items.close();
                continue;
            }
        };
        if taken == 0 {
            return;
        }
        for (account, kept) in some.drain(..) {
            for spans in spans(&account, kept, &identity) {
                // Counted where it is lost.
                let _ = export.try_send(spans);
            }
        }
    }
}

/// Writes traces for people who ask for them.
#[derive(Debug, Clone)]
pub(crate) struct TraceFiles {
    pub(crate) identity: Identity,
    /// The broker.
    pub(crate) resource: Arc<Resource>,
}

impl TraceFiles {
    /// Of the broker that clients reach at `grpc`.
    pub(crate) fn new(config: &Config, grpc: SocketAddr) -> Self {
        let exported = config.otlp.as_ref().map(|otlp| otlp.resource().clone());
        let resource = exported.or_else(|| Resource::from_env("baton-broker", &|_| None).ok());
        Self {
            identity: identity(grpc),
            resource: Arc::new(resource.expect("without variables none is wrong")),
        }
    }

    /// All spans of an ended item, its clients' too, as a file of their own, whether they are exported or not. `seed`: of
    /// this life of its queue. None: it has not ended.
    pub(crate) fn of(&self, account: &Account, seed: u64, form: Form) -> Option<Value> {
        let made_up = ItemContext::made_up(seed, &account.queue, account.item);
        let spans = whole_tree(account, made_up, &self.identity);
        if spans.is_empty() {
            return None;
        }
        to_json(&spans, &self.resource, form).ok()
    }
}

/// The exporter at work.
#[derive(Debug)]
pub(crate) struct Exporting {
    sink: Arc<Traces>,
    writer: (CancellationToken, JoinSet<()>),
    exporter: (CancellationToken, JoinSet<()>),
}

impl Exporting {
    /// Starts it, if there is somewhere to export to.
    pub(crate) fn start(config: &Config, grpc: SocketAddr) -> Option<Self> {
        let settings = config.otlp.clone()?;
        info!(endpoint = %settings.endpoint(), "exporting traces of items");
        let (exporter, export) = Exporter::new(settings);
        let (items, kept) = mpsc::channel(ITEMS_MAX);
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(exporter.run(stop.clone()));
        let stop_writing = CancellationToken::new();
        let mut writing = JoinSet::new();
        let stopped = stop_writing.clone();
        writing.spawn(write(kept, export.clone(), identity(grpc), stopped));
        Some(Self {
            sink: Arc::new(Traces { items, export }),
            writer: (stop_writing, writing),
            exporter: (stop, task),
        })
    }

    /// Where traces go in.
    pub(crate) fn sink(&self) -> Arc<dyn TraceSink> {
        self.sink.clone()
    }

    /// What became of spans so far.
    pub(crate) fn counters(&self) -> ExportHandle {
        self.sink.export.clone()
    }

    /// Exports what is left, as far as the exporter's own deadline lets it.
    pub(crate) async fn stop(mut self) {
        // First what is still to be written.
        for (stop, task) in [&mut self.writer, &mut self.exporter] {
            stop.cancel();
            task.join_next().await;
        }
    }
}

/// Where clients reach the broker, as spans say it.
pub(crate) fn identity(grpc: SocketAddr) -> Identity {
    Identity {
        server_address: address(grpc.ip(), host::name).into(),
        server_port: grpc.port(),
    }
}

/// "All addresses" is where the broker listens, as it does in every container, and not where anybody reaches it.
fn address(ip: IpAddr, host_name: impl FnOnce() -> Option<String>) -> String {
    let host_name = ip.to_canonical().is_unspecified().then(host_name).flatten();
    host_name.unwrap_or_else(|| ip.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use baton_ledger::account::{End, Outcome};
    use baton_telemetry::otlp::Settings;

    use super::*;

    fn traces(items: usize) -> (Traces, mpsc::Receiver<(Arc<Account>, Kept)>, Exporter) {
        let read = |name: &str| {
            let endpoint = name == "OTEL_EXPORTER_OTLP_ENDPOINT";
            endpoint.then(|| "http://127.0.0.1:9".to_owned())
        };
        let settings = Settings::from_env("broker", &read).unwrap().unwrap();
        let (exporter, export) = Exporter::new(settings);
        let (items, kept) = mpsc::channel(items);
        (Traces { items, export }, kept, exporter)
    }

    /// With an `item` and a `store`.
    fn account(item: u64) -> Arc<Account> {
        Arc::new(Account {
            item,
            queue: "q".into(),
            context: Some(ItemContext::made_up(1, "q", item)),
            before_redrive: None,
            producer: None,
            created: None,
            received: 1_000_000,
            durable: Some(2_000_000),
            restarted: None,
            attempts: Vec::new(),
            end: Some(End {
                outcome: Outcome::Acked,
                at: 3_000_000,
            }),
        })
    }

    #[test]
    fn what_nobody_writes_in_time_is_counted_as_dropped() {
        let (traces, kept, _exporter) = traces(3);
        for item in 0..5 {
            traces.keep(account(item), Kept::Slow);
        }
        assert_eq!(traces.export.counters().dropped(), 2 * 2);
        drop(kept);
        traces.keep(account(6), Kept::Slow);
        assert_eq!(traces.export.counters().dropped(), 3 * 2);
    }

    #[tokio::test]
    async fn what_waits_is_written_before_the_writer_stops() {
        let (traces, kept, _exporter) = traces(ITEMS_MAX);
        for item in 0..1000 {
            traces.keep(account(item), Kept::Slow);
        }
        let stop = CancellationToken::new();
        stop.cancel();
        let identity = identity(([127, 0, 0, 1], 1).into());
        let written = write(kept, traces.export.clone(), identity, stop);
        let written = tokio::time::timeout(Duration::from_secs(60), written);
        written.await.unwrap();
        let counters = traces.export.counters();
        assert_eq!(counters.dropped(), 0);
        assert!(counters.queued_bytes() > 100_000);
        traces.keep(account(1000), Kept::Slow);
        assert_eq!(counters.dropped(), 2, "nobody writes any more");
    }

    #[test]
    fn a_broker_that_listens_everywhere_is_known_by_its_hosts_name() {
        let of =
            |ip: &str, name: Option<&str>| address(ip.parse().unwrap(), || name.map(str::to_owned));
        for everywhere in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
            assert_eq!(of(everywhere, Some("broker-1")), "broker-1");
        }
        assert_eq!(of("0.0.0.0", None), "0.0.0.0");
        assert_eq!(of("10.0.0.7", Some("broker-1")), "10.0.0.7");
        assert_eq!(of("::1", Some("broker-1")), "::1");
        let identity = identity("0.0.0.0:7400".parse().unwrap());
        assert_eq!(host::name().as_deref(), Some(&*identity.server_address));
    }
}
