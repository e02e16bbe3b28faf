//! What every producer, consumer and call of one client shares: the address, who we are, the patience, the connection of
//! the unary calls, and the tasks of all drivers.
//!
//! Each producer and each consumer has a connection of its own: a publish stream that the broker does not read (its queue
//! is full) must not hold up the acknowledgements that would empty the queue.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use baton_proto::opaque::Hello;
use baton_proto::opaque::queue_service_client::QueueServiceClient;
use baton_proto::v1::admin_service_client::AdminServiceClient;
use tokio::time::error::Elapsed;
use tokio_util::task::TaskTracker;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Response, Status};

use crate::backoff::{Backoff, Patience};
use crate::clock;
use crate::error::{Error, root_cause};
use crate::telemetry::{BrokerTracing, Providers, Telemetry};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Finds a dead peer within 40 s, and keeps address translators from forgetting an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// For the head of a stream's answer; a broker that needs longer is not well.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// 10 to 18 % more items/s at 1 KiB than with the default of 16 KiB, in a prototype of this path.
const FRAME_BYTES: u32 = 64 << 10;
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// An item of 16 MiB and what is around it.
const MAX_MESSAGE_BYTES: usize = 17 << 20;
/// Where an http:// URL leads that names none.
const HTTP_PORT: u16 = 80;
const CLIENT_VERSION: &str = concat!("baton-rust/", env!("CARGO_PKG_VERSION"));

/// What a user chose.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) client_id: String,
    pub(crate) service_name: String,
    pub(crate) give_up_after: Duration,
    pub(crate) reconnect: Backoff,
    pub(crate) providers: Providers,
}

/// What producers, consumers and calls share.
#[derive(Debug)]
pub(crate) struct Context {
    settings: Settings,
    endpoint: Endpoint,
    url: Arc<str>,
    unary: OnceLock<Channel>,
    telemetry: OnceLock<Telemetry>,
    broker_tracing: BrokerTracing,
    /// Drivers outlive the handles that were dropped, to finish what was under way; they end by themselves.
    tasks: TaskTracker,
}

impl Context {
    /// Checks the address. No IO yet.
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self {
            endpoint: endpoint(&settings.url)?,
            url: settings.url.as_str().into(),
            unary: OnceLock::new(),
            telemetry: OnceLock::new(),
            broker_tracing: BrokerTracing::default(),
            tasks: TaskTracker::new(),
            settings,
        })
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.settings.client_id
    }

    /// The broker's host and port, as given.
    pub(crate) fn peer(&self) -> (&str, u16) {
        let uri = self.endpoint.uri();
        (
            uri.host().unwrap_or_default(),
            uri.port_u16().unwrap_or(HTTP_PORT),
        )
    }

    /// Looks for an SDK on first use: that is what the user has until then to install one.
    pub(crate) fn telemetry(&self) -> &Telemetry {
        let providers = &self.settings.providers;
        self.telemetry.get_or_init(|| Telemetry::new(providers))
    }

    pub(crate) fn broker_tracing(&self) -> &BrokerTracing {
        &self.broker_tracing
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(crate) fn patience(&self) -> Patience {
        let (reconnect, give_up_after) = (self.settings.reconnect, self.settings.give_up_after);
        Patience::new(Arc::clone(&self.url), reconnect, give_up_after)
    }

    pub(crate) fn hello(&self) -> Hello {
        Hello {
            client_id: self.settings.client_id.clone(),
            client_version: CLIENT_VERSION.to_owned(),
            service_name: self.settings.service_name.clone(),
            clock: Some(clock::domain()),
        }
    }

    /// A connection for one stream.
    pub(crate) async fn connect(&self) -> Result<QueueServiceClient<Channel>, Error> {
        let connected = self.endpoint.connect().await;
        let channel = connected.map_err(|error| Error::Connect {
            url: self.url.to_string(),
            reason: root_cause(&error),
        })?;
        Ok(sized(QueueServiceClient::new(channel)))
    }

    /// The shared connection of the unary calls; connects, and connects again, on use.
    pub(crate) fn calls(&self) -> QueueServiceClient<Channel> {
        sized(QueueServiceClient::new(self.channel()))
    }

    /// The same, for operators' calls.
    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn channel(&self) -> Channel {
        self.unary
            .get_or_init(|| self.endpoint.connect_lazy())
            .clone()
    }
}

fn sized(client: QueueServiceClient<Channel>) -> QueueServiceClient<Channel> {
    client
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// The head of a stream's answer, or why there is none.
pub(crate) fn opened<T>(
    answer: Result<Result<Response<T>, Status>, Elapsed>,
) -> Result<Response<T>, Error> {
    let late = |_| Status::deadline_exceeded("the broker did not answer the stream's start");
    Ok(answer.map_err(late)??)
}

fn endpoint(url: &str) -> Result<Endpoint, Error> {
    let invalid = |reason: String| Error::InvalidUrl {
        url: url.to_owned(),
        reason,
    };
    let uri: Uri = url.parse().map_err(|e| invalid(format!("{e}")))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(invalid("TLS is not supported yet".to_owned())),
        _ => return Err(invalid("it has no http:// in front".to_owned())),
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(invalid("it has a path".to_owned()));
    }
    Ok(Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true))
}

/// A name that nobody else has.
pub(crate) fn random_name(prefix: &str) -> String {
    format!("{prefix}-{:016x}", rand::random::<u64>())
}
