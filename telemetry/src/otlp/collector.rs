//! The collector's end of a gRPC connection: one request at a time, each within the timeout.
//!
//! Invariant: after a request that was not answered the next one goes over a new connection, because the other end of the
//! old one may be gone without a word, or have moved to another address. Owned by the exporter.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::BoxFuture;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::environment::Destination;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// As the specification wants it: exporter, language, version.
const USER_AGENT: &str = concat!("Baton-OTLP-Exporter-Rust/", env!("CARGO_PKG_VERSION"));

/// Sends a request over one connection.
pub(super) type Connection =
    Box<dyn FnMut(Bytes) -> BoxFuture<ExportTraceServiceResponse, Status> + Send>;

/// Where requests go.
pub(super) struct Collector {
    /// Makes a connection that is not opened before its first request.
    connect: Box<dyn Fn() -> Connection + Send>,
    connection: Option<Connection>,
    timeout: Duration,
}

impl Collector {
    /// At the other end of `connect`'s connections.
    pub(super) fn new(
        connect: impl Fn() -> Connection + Send + 'static,
        timeout: Duration,
    ) -> Self {
        Self {
            connect: Box::new(connect),
            connection: None,
            timeout,
        }
    }

    /// As the environment says. Within a runtime only, from the first request on.
    pub(super) fn over_grpc(destination: &Destination) -> Self {
        let destination = destination.clone();
        let timeout = destination.timeout;
        Self::new(move || connection(&destination), timeout)
    }

    /// Sends one `ExportTraceServiceRequest`.
    pub(super) async fn export(
        &mut self,
        request: Bytes,
    ) -> Result<ExportTraceServiceResponse, Status> {
        let connection = self.connection.get_or_insert_with(&self.connect);
        let answer = match timeout(self.timeout, connection(request)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(status)) => status,
            Err(elapsed) => unanswered(self.timeout, elapsed),
        };
        if is_unanswered(&answer) {
            self.connection = None;
        }
        Err(answer)
    }
}

/// Whether the status was made here, for want of an answer: those that arrive have no source.
pub(super) fn is_unanswered(status: &Status) -> bool {
    status.source().is_some()
}

fn unanswered(waited: Duration, elapsed: Elapsed) -> Status {
    let mut status = Status::deadline_exceeded(format!("no answer within {waited:?}"));
    status.set_source(Arc::new(elapsed));
    status
}

fn connection(destination: &Destination) -> Connection {
    let channel = Endpoint::from(destination.endpoint.clone())
        .user_agent(USER_AGENT)
        .expect("it is visible ASCII")
        .connect_timeout(destination.timeout)
        .connect_lazy();
    let mut grpc = Grpc::new(channel);
    if destination.gzip {
        grpc = grpc.send_compressed(CompressionEncoding::Gzip);
    }
    let headers = destination.headers.clone();
    Box::new(move |body| {
        let mut request = Request::new(body);
        *request.metadata_mut() = headers.clone();
        Box::pin(send(grpc.clone(), request))
    })
}

async fn send(
    mut grpc: Grpc<Channel>,
    request: Request<Bytes>,
) -> Result<ExportTraceServiceResponse, Status> {
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::from_static(EXPORT);
    let response = grpc.unary(request, path, Encoded).await?;
    Ok(response.into_inner())
}

/// Requests are encoded already.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, request: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.reserve(request.len());
        into.put(request);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let answer = Self::Item::decode(from);
        answer
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
