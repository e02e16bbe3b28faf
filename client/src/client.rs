//! The client: where the broker is, who we are, and how patient.
//!
//! Owns the settings that a user gives and hands out producers, consumers and queues, which share one
//! [`Context`](crate::context::Context).

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Tracer, TracerProvider};

use crate::backoff::Backoff;
use crate::consumer::ConsumerBuilder;
use crate::context::{Context, Settings, random_name};
use crate::error::Error;
use crate::producer::ProducerBuilder;
use crate::queue::Queue;
use crate::telemetry::{Providers, Ratio};

const GIVE_UP_AFTER: Duration = Duration::from_secs(5 * 60);

/// A broker, seen from here. Cheap to clone. Does no IO until used; opening a producer or a consumer, and every call,
/// needs a tokio runtime.
///
/// ```no_run
/// use baton_client::{Client, Item};
///
/// # async fn example() -> Result<(), baton_client::Error> {
/// let client = Client::connect("http://127.0.0.1:7400")?;
/// let producer = client.producer("orders").open();
/// let receipt = producer.publish(Item::new("order 4711")).await?;
/// println!("durable as item {}", receipt.item_id);
/// producer.close().await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    context: Arc<Context>,
}

impl Client {
    /// A client with default settings; the same as `Client::builder(url).build()`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`].
    pub fn connect(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(url).build()
    }

    /// Settings first.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        let service_name = executable_name();
        ClientBuilder {
            settings: Settings {
                url: url.into(),
                client_id: random_name(&service_name),
                service_name,
                give_up_after: GIVE_UP_AFTER,
                reconnect: Backoff::default(),
                providers: Providers::global(),
            },
        }
    }

    /// Publishes to a queue.
    pub fn producer(&self, queue: impl Into<String>) -> ProducerBuilder {
        ProducerBuilder::new(Arc::clone(&self.context), queue.into())
    }

    /// Takes items from a queue.
    pub fn consumer(&self, queue: impl Into<String>) -> ConsumerBuilder {
        ConsumerBuilder::new(Arc::clone(&self.context), queue.into())
    }

    /// Everything else that can be done with a queue, one call each.
    pub fn queue(&self, name: impl Into<String>) -> Queue {
        Queue::new(Arc::clone(&self.context), name.into())
    }

    /// Names of all queues that begin so, with their settings and counts.
    ///
    /// Cancel-safe: it changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Rpc`], [`Error::GaveUp`].
    pub async fn queues(&self, prefix: &str) -> Result<Vec<baton_proto::v1::Queue>, Error> {
        crate::admin::list_queues(&self.context, prefix).await
    }

    /// What the broker is, and its limits.
    ///
    /// Cancel-safe: it changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Rpc`], [`Error::GaveUp`].
    pub async fn server_info(&self) -> Result<baton_proto::v1::GetServerInfoResponse, Error> {
        crate::admin::server_info(&self.context).await
    }

    /// Waits until the tasks behind all dropped or closed producers, consumers and deliveries have ended: what was on its
    /// way when they were dropped is then confirmed, or given up on. Those still open are waited for.
    ///
    /// Cancel-safe: it can be called again.
    pub async fn finished(&self) {
        let tasks = self.context.tasks();
        tasks.close();
        tasks.wait().await;
        tasks.reopen();
    }
}

/// Settings of a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    settings: Settings,
}

impl ClientBuilder {
    /// Names this client in logs, metrics and explanations: 1 to 64 bytes of printable ASCII. Default: the name of the
    /// executable and something random.
    #[must_use]
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.settings.client_id = id.into();
        self
    }

    /// As in OpenTelemetry's `service.name`, at most 128 bytes. Default: the name of the executable.
    #[must_use]
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.settings.service_name = name.into();
        self
    }

    /// How long to go on without a broker that answers. Default: 5 minutes. A broker that answers "wait" (a full queue) is
    /// there: waiting for it does not count.
    #[must_use]
    pub fn give_up_after(mut self, patience: Duration) -> Self {
        self.settings.give_up_after = patience;
        self
    }

    /// How long to wait between attempts to connect. Default: 100 ms to 5 s.
    #[must_use]
    pub fn reconnect(mut self, backoff: Backoff) -> Self {
        self.settings.reconnect = backoff;
        self
    }

    /// How many of the items that are published outside of any span are traced, 0 to 1. Inside of one, that span decides.
    /// Default: what `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` say, and all of them where they say nothing. Of
    /// no effect where no tracer provider is installed.
    #[must_use]
    pub fn trace_ratio(mut self, ratio: f64) -> Self {
        self.settings.providers.ratio = Ratio::given(ratio);
        self
    }

    /// Where spans go. Default: the global tracer provider, which has to be installed before the client is first used.
    #[must_use]
    pub fn tracer_provider<P>(mut self, provider: P) -> Self
    where
        P: TracerProvider + Send + Sync + 'static,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as Tracer>::Span: Send + Sync + 'static,
    {
        self.settings.providers.trace_with(provider);
        self
    }

    /// Where metrics go. Default: the global meter provider, which has to be installed before the client is first used.
    #[must_use]
    pub fn meter_provider(mut self, provider: impl MeterProvider + Send + Sync + 'static) -> Self {
        self.settings.providers.meter_with(provider);
        self
    }

    /// Checks the address. No IO yet.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidUrl`].
    pub fn build(self) -> Result<Client, Error> {
        let context = Arc::new(Context::new(self.settings)?);
        Ok(Client { context })
    }
}

/// Short enough, and plain enough, for a client id with something random behind it.
fn executable_name() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_deref().and_then(|path| path.file_stem()?.to_str());
    let plain = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
    let name: String = name
        .unwrap_or_default()
        .chars()
        .filter(plain)
        .take(40)
        .collect();
    if name.is_empty() {
        "baton-client".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_work_is_refused_at_once() {
        for url in [
            "",
            "127.0.0.1:7400",
            "https://h:1",
            "http://",
            "http://h:1/path",
            "ftp://h",
        ] {
            let error = Client::connect(url).unwrap_err();
            assert!(matches!(error, Error::InvalidUrl { .. }), "{url}: {error}");
        }
        assert!(Client::connect("http://127.0.0.1:7400").is_ok());
        assert!(Client::connect("http://broker:7400/").is_ok());
    }

    #[test]
    fn every_client_has_its_own_id_within_the_limit() {
        let one = Client::connect("http://h:1").unwrap();
        let two = Client::connect("http://h:1").unwrap();
        assert_ne!(one.context.client_id(), two.context.client_id());
        assert!(one.context.client_id().len() <= 64);
    }
}
