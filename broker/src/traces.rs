//! Traces of items, on their way out: what the ledgers keep is written as spans and handed to the exporter.
//!
//! Called by the queues' actors, which never wait here: what the exporter has no room for is counted by it and gone.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use baton_ledger::account::Account;
use baton_ledger::sampling::Kept;
use baton_ledger::spans::{Identity, spans};
use baton_telemetry::host;
use baton_telemetry::otlp::{ExportHandle, Exporter, Resource, to_json};
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

    /// An ended item's spans as an OTLP/JSON file. None: it has not ended, or nobody traces it.
    pub(crate) fn of(&self, account: &Account) -> Option<Value> {
        let spans = spans(account, Kept::Head, &self.identity);
        if spans.is_empty() {
            return None;
        }
        to_json(&spans, &self.resource).ok()
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
    use super::*;

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
