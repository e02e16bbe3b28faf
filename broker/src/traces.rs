//! Traces of items, on their way out: what the ledgers keep is written as spans and handed to the exporter.
//!
//! Called by the queues' actors, which never wait here: what the exporter has no room for is counted by it and gone.

use std::net::SocketAddr;
use std::sync::Arc;

use baton_ledger::account::Account;
use baton_ledger::sampling::Kept;
use baton_ledger::spans::{Identity, spans, whole_tree};
use baton_telemetry::otlp::{ExportHandle, Exporter, Form, Resource, to_json};
use baton_telemetry::trace_context::ItemContext;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::Config;
use crate::engine::TraceSink;

/// See the module.
#[derive(Debug)]
pub(crate) struct Traces {
    pub(crate) identity: Identity,
    pub(crate) export: ExportHandle,
}

impl TraceSink for Traces {
    fn keep(&self, account: &Account, kept: Kept) {
        for spans in spans(account, kept, &self.identity) {
            // Counted where it is lost.
            let _ = self.export.try_send(spans);
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
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Exporting {
    /// Starts it, if there is somewhere to export to.
    pub(crate) fn start(config: &Config, grpc: SocketAddr) -> Option<Self> {
        let settings = config.otlp.clone()?;
        info!(endpoint = %settings.endpoint(), "exporting traces of items");
        let (exporter, export) = Exporter::new(settings);
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(exporter.run(stop.clone()));
        let identity = identity(grpc);
        Some(Self {
            sink: Arc::new(Traces { identity, export }),
            stop,
            task,
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
        self.stop.cancel();
        self.task.join_next().await;
    }
}

/// Where clients reach the broker, as spans say it.
pub(crate) fn identity(grpc: SocketAddr) -> Identity {
    Identity {
        server_address: grpc.ip().to_string().into(),
        server_port: grpc.port(),
    }
}
