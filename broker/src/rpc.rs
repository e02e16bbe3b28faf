//! The gRPC edge: parses wire types into the engine's and answers back. Wire types go no deeper than this module.
//!
//! [`queue_service`] and [`admin`] implement the two services; [`publish_stream`] and [`consume`] each own one kind of
//! stream; [`convert`] holds the small conversions. Called by the shell in `lib.rs`.

mod admin;
mod batch;
mod confirms;
mod consume;
mod convert;
mod explain;
mod hello;
mod latency;
mod publish_stream;
mod queue_config;
mod queue_service;
mod settle;
mod stream_clock;

use baton_proto::DESCRIPTORS;
use baton_proto::opaque::admin_service_server::AdminServiceServer;
use baton_proto::opaque::queue_service_server::QueueServiceServer;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::server::HealthReporter;

pub(crate) use self::admin::AdminRpc;
use self::queue_service::QueueRpc;
use crate::connections::Listener;
use crate::engine::Engine;
use crate::limits::{
    KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, STREAMS_PER_CONNECTION_MAX, message_bytes_max,
};

/// HTTP/2 windows and frames: measured, see docs/BROKER.md.
const FRAME_BYTES: u32 = 64 * 1024;
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// What every call needs.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// All queues.
    pub(crate) engine: Engine,
    /// Bytes of a payload.
    pub(crate) payload_bytes_max: usize,
    /// Cancelled when the broker begins to shut down.
    pub(crate) draining: CancellationToken,
    /// The tasks of all streams.
    pub(crate) streams: TaskTracker,
}

/// The gRPC server, ready to serve.
#[derive(Debug)]
pub(crate) struct GrpcServer {
    router: Router,
    health: HealthReporter,
}

impl GrpcServer {
    /// Wires the services together.
    ///
    /// # Errors
    /// The compiled contract cannot be read, which is a fault of the build.
    pub(crate) async fn new(context: Context) -> Result<Self, tonic_reflection::server::Error> {
        let message_bytes = message_bytes_max(context.payload_bytes_max);
        let (health, health_service) = tonic_health::server::health_reporter();
        let queues = QueueServiceServer::new(QueueRpc::new(context.clone()))
            .max_decoding_message_size(message_bytes)
            .max_encoding_message_size(usize::MAX);
        let admin =
            AdminServiceServer::new(AdminRpc::new(context)).max_encoding_message_size(usize::MAX);
        let router = builder()
            .add_service(health_service)
            .add_service(reflection()?.build_v1()?)
            .add_service(reflection()?.build_v1alpha()?)
            .add_service(queues)
            .add_service(admin);
        let server = Self { router, health };
        set_serving(&server.health).await;
        Ok(server)
    }

    /// Where its health is told.
    pub(crate) fn health(&self) -> HealthReporter {
        self.health.clone()
    }

    /// Serves until `stop`, and then until the calls under way have ended.
    ///
    /// # Errors
    /// The listener broke.
    pub(crate) async fn serve(
        self,
        listener: Listener,
        stop: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        let incoming = listener.incoming(stop.clone());
        self.router
            .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
            .await
    }
}

/// Tells health checks that the broker takes work.
pub(crate) async fn set_serving(health: &HealthReporter) {
    health.set_serving::<QueueServiceServer<QueueRpc>>().await;
    health.set_serving::<AdminServiceServer<AdminRpc>>().await;
    health
        .set_service_status("", tonic_health::ServingStatus::Serving)
        .await;
}

/// Tells health checks that the broker takes no more work.
pub(crate) async fn set_not_serving(health: &HealthReporter) {
    health
        .set_not_serving::<QueueServiceServer<QueueRpc>>()
        .await;
    health
        .set_not_serving::<AdminServiceServer<AdminRpc>>()
        .await;
    health
        .set_service_status("", tonic_health::ServingStatus::NotServing)
        .await;
}

fn builder() -> Server {
    Server::builder()
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

fn reflection<'a>() -> Result<tonic_reflection::server::Builder<'a>, tonic_reflection::server::Error>
{
    Ok(tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET))
}
