//! A broker that does what the test says: it hands every call to the test, which reads and answers as it likes.

use std::future::Future;
use std::net::{Shutdown, SocketAddr, TcpStream as StdTcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use baton_client::{Backoff, Client, ClientBuilder, ErrorCode, Item};
use baton_proto::opaque::queue_service_server::{QueueService, QueueServiceServer};
use baton_proto::opaque::*;
use baton_proto::v1;
use baton_proto::v1::admin_service_server::AdminServiceServer;
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::operating::Admin;

/// Nothing here takes this long; what does is a failure.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("it should have happened by now")
}

pub(crate) type Unary<Q, A> = (Q, oneshot::Sender<Result<A, Status>>);

/// Where the service puts what arrives, and the test takes it.
struct Slot<T>(mpsc::Sender<T>, tokio::sync::Mutex<mpsc::Receiver<T>>);

impl<T> Slot<T> {
    fn new() -> Self {
        let (sender, receiver) = mpsc::channel(16);
        Self(sender, tokio::sync::Mutex::new(receiver))
    }

    async fn put(&self, value: T) {
        self.0.send(value).await.ok().unwrap();
    }

    async fn take(&self) -> T {
        soon(async { self.1.lock().await.recv().await })
            .await
            .unwrap()
    }
}

struct Calls {
    publish_streams: Slot<PublishSession>,
    consumes: Slot<ConsumeSession>,
    publishes: Slot<Unary<PublishRequest, PublishResponse>>,
    leases: Slot<Unary<LeaseRequest, LeaseResponse>>,
    settles: Slot<Unary<SettleRequest, SettleResponse>>,
    joins: Slot<Unary<JoinRequest, JoinResponse>>,
}

pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    calls: Arc<Calls>,
    connections: Arc<Mutex<Vec<StdTcpStream>>>,
    _server: JoinSet<()>,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// One that says whether it exports spans; [`start`](Self::start)'s knows nothing of that.
    pub(crate) async fn start_tracing(tracing: bool) -> Self {
        Self::start_with(Some(Admin::tracing(tracing))).await
    }

    async fn start_with(admin: Option<Admin>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let calls = Arc::new(Calls {
            publish_streams: Slot::new(),
            consumes: Slot::new(),
            publishes: Slot::new(),
            leases: Slot::new(),
            settles: Slot::new(),
            joins: Slot::new(),
        });
        let kept = Arc::clone(&connections);
        let incoming = TcpListenerStream::new(listener).map(move |socket| {
            let socket = socket?.into_std()?;
            kept.lock().unwrap().push(socket.try_clone()?);
            TcpStream::from_std(socket)
        });
        let service = QueueServiceServer::new(Service(Arc::clone(&calls)));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let router = tonic::transport::Server::builder()
                .add_service(service)
                .add_optional_service(admin.map(AdminServiceServer::new));
            router.serve_with_incoming(incoming).await.unwrap();
        });
        Self {
            address,
            calls,
            connections,
            _server: server,
        }
    }

    pub(crate) fn settings(&self) -> ClientBuilder {
        Client::builder(format!("http://{}", self.address)).reconnect(Backoff {
            initial: Duration::from_millis(1),
            max: Duration::from_millis(10),
        })
    }

    pub(crate) fn client(&self) -> Client {
        self.settings().build().unwrap()
    }

    /// Tears every connection, as a dead network or a killed broker does.
    pub(crate) fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    pub(crate) async fn publish_stream(&self) -> PublishSession {
        self.calls.publish_streams.take().await
    }

    pub(crate) async fn consume(&self) -> ConsumeSession {
        self.calls.consumes.take().await
    }

    pub(crate) async fn publish(&self) -> Unary<PublishRequest, PublishResponse> {
        self.calls.publishes.take().await
    }

    pub(crate) async fn lease(&self) -> Unary<LeaseRequest, LeaseResponse> {
        self.calls.leases.take().await
    }

    pub(crate) async fn settle(&self) -> Unary<SettleRequest, SettleResponse> {
        self.calls.settles.take().await
    }

    pub(crate) async fn join(&self) -> Unary<JoinRequest, JoinResponse> {
        self.calls.joins.take().await
    }
}

struct Service(Arc<Calls>);

async fn ask<Q, A>(slot: &Slot<Unary<Q, A>>, request: Request<Q>) -> Result<Response<A>, Status> {
    let (reply, answer) = oneshot::channel();
    slot.put((request.into_inner(), reply)).await;
    let answer = answer.await.map_err(|_| Status::unavailable("no answer"))?;
    answer.map(Response::new)
}

#[tonic::async_trait]
impl QueueService for Service {
    type PublishStreamStream = ReceiverStream<Result<PublishStreamResponse, Status>>;
    type ConsumeStream = ReceiverStream<Result<ConsumeResponse, Status>>;

    async fn publish(
        &self,
        request: Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        ask(&self.0.publishes, request).await
    }

    async fn lease(
        &self,
        request: Request<LeaseRequest>,
    ) -> Result<Response<LeaseResponse>, Status> {
        ask(&self.0.leases, request).await
    }

    async fn settle(
        &self,
        request: Request<SettleRequest>,
    ) -> Result<Response<SettleResponse>, Status> {
        ask(&self.0.settles, request).await
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        ask(&self.0.joins, request).await
    }

    async fn close_queue(
        &self,
        _request: Request<CloseQueueRequest>,
    ) -> Result<Response<CloseQueueResponse>, Status> {
        Ok(Response::new(CloseQueueResponse {}))
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let (responses, stream) = mpsc::channel(16);
        let requests = request.into_inner();
        let session = PublishSession {
            requests,
            responses,
        };
        self.0.publish_streams.put(session).await;
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn consume(
        &self,
        request: Request<Streaming<ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        let (responses, stream) = mpsc::channel(16);
        let requests = request.into_inner();
        let session = ConsumeSession {
            requests,
            responses,
        };
        self.0.consumes.put(session).await;
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// The broker's end of a publish stream.
pub(crate) struct PublishSession {
    requests: Streaming<PublishStreamRequest>,
    responses: mpsc::Sender<Result<PublishStreamResponse, Status>>,
}

impl PublishSession {
    async fn request(&mut self) -> Option<publish_stream_request::Request> {
        self.message().await?.request
    }

    pub(crate) async fn message(&mut self) -> Option<PublishStreamRequest> {
        let message = soon(self.requests.message()).await.unwrap()?;
        assert!(message.sent_ns > 0, "every message is stamped");
        Some(message)
    }

    pub(crate) async fn start(&mut self) -> PublishStart {
        match self.request().await {
            Some(publish_stream_request::Request::Start(start)) => start,
            other => panic!("not a start: {other:?}"),
        }
    }

    pub(crate) async fn batch(&mut self) -> PublishBatch {
        match self.request().await {
            Some(publish_stream_request::Request::Batch(batch)) => batch,
            other => panic!("not a batch: {other:?}"),
        }
    }

    /// The next batch's items.
    pub(crate) async fn decoded(&mut self) -> Vec<v1::Item> {
        let decode = |encoded: &bytes::Bytes| v1::Item::decode(encoded.clone()).unwrap();
        self.batch().await.items.iter().map(decode).collect()
    }

    pub(crate) async fn started(&self, tracing: bool) {
        let started = PublishStarted {
            tracing,
            ..PublishStarted::default()
        };
        self.respond(publish_stream_response::Response::Started(started))
            .await;
    }

    /// Payloads of the next items, in as many batches as they come, and the first one's sequence.
    pub(crate) async fn items(&mut self, count: usize) -> (u64, Vec<String>) {
        let mut first = 0;
        let mut payloads = Vec::new();
        while payloads.len() < count {
            let batch = self.batch().await;
            if payloads.is_empty() {
                first = batch.first_sequence;
            }
            assert_eq!(batch.first_sequence, first + payloads.len() as u64);
            payloads.extend(batch.items.iter().map(payload));
        }
        assert_eq!(payloads.len(), count);
        (first, payloads)
    }

    /// The client ended its half.
    pub(crate) async fn ended(&mut self) {
        assert!(self.request().await.is_none());
    }

    pub(crate) async fn confirm(&self, confirms: Vec<PublishConfirm>) {
        self.respond(publish_stream_response::Response::Confirms(
            PublishConfirms {
                confirms,
                durability: Durability::Fsynced.into(),
            },
        ))
        .await;
    }

    pub(crate) async fn respond(&self, response: publish_stream_response::Response) {
        let message = PublishStreamResponse {
            sent_ns: 1,
            response: Some(response),
        };
        soon(self.responses.send(Ok(message))).await.unwrap();
    }

    pub(crate) async fn fail(self, status: Status) {
        soon(self.responses.send(Err(status))).await.unwrap();
    }
}

pub(crate) fn stored(first_sequence: u64, count: u32, first_item_id: u64) -> PublishConfirm {
    PublishConfirm {
        first_sequence,
        count,
        first_item_id,
        ..PublishConfirm::default()
    }
}

pub(crate) fn payload(encoded: &bytes::Bytes) -> String {
    let item = v1::Item::decode(encoded.clone()).unwrap();
    String::from_utf8(item.payload.to_vec()).unwrap()
}

/// The broker's end of a consume stream.
pub(crate) struct ConsumeSession {
    requests: Streaming<ConsumeRequest>,
    responses: mpsc::Sender<Result<ConsumeResponse, Status>>,
}

impl ConsumeSession {
    pub(crate) async fn request(&mut self) -> Option<consume_request::Request> {
        self.message().await?.request
    }

    pub(crate) async fn message(&mut self) -> Option<ConsumeRequest> {
        let message = soon(self.requests.message()).await.unwrap()?;
        assert!(message.sent_ns > 0, "every message is stamped");
        Some(message)
    }

    pub(crate) async fn start(&mut self) -> ConsumeStart {
        match self.request().await {
            Some(consume_request::Request::Start(start)) => start,
            other => panic!("not a start: {other:?}"),
        }
    }

    pub(crate) async fn settle(&mut self) -> SettleBatch {
        match self.request().await {
            Some(consume_request::Request::Settle(settle)) => settle,
            other => panic!("not a settle: {other:?}"),
        }
    }

    pub(crate) async fn credit(&mut self) -> Credit {
        match self.request().await {
            Some(consume_request::Request::Credit(credit)) => credit,
            other => panic!("not a credit: {other:?}"),
        }
    }

    pub(crate) async fn drain(&mut self) {
        let request = self.request().await;
        assert!(
            matches!(request, Some(consume_request::Request::Drain(_))),
            "{request:?}"
        );
    }

    pub(crate) async fn deliver(&self, ids: std::ops::RangeInclusive<u64>) {
        let deliveries = ids.map(delivery).collect();
        self.respond(consume_response::Response::Deliveries(DeliveryBatch {
            deliveries,
        }))
        .await;
    }

    pub(crate) async fn started(&self, lease: Duration) {
        self.respond(consume_response::Response::Started(ConsumeStarted {
            lease_duration: Some(lease.try_into().unwrap()),
            ..ConsumeStarted::default()
        }))
        .await;
    }

    pub(crate) async fn started_tracing(&self, tracing: bool) {
        self.respond(consume_response::Response::Started(ConsumeStarted {
            tracing,
            ..ConsumeStarted::default()
        }))
        .await;
    }

    pub(crate) async fn deliver_one(&self, delivery: Delivery) {
        self.deliver_these(vec![delivery]).await;
    }

    pub(crate) async fn deliver_these(&self, deliveries: Vec<Delivery>) {
        self.respond(consume_response::Response::Deliveries(DeliveryBatch {
            deliveries,
        }))
        .await;
    }

    pub(crate) async fn notice(&self, kind: NoticeKind) {
        self.respond(consume_response::Response::Notice(Notice {
            kind: kind.into(),
            message: "as the test says".to_owned(),
        }))
        .await;
    }

    /// One outcome for everything in a batch.
    pub(crate) async fn answer(&self, batch: &SettleBatch, outcome: SettleOutcome) {
        let deliveries = batch.deliveries.iter().map(|range| SettledRange {
            first: range.first,
            last: range.last,
            outcome: outcome.into(),
        });
        self.respond(consume_response::Response::Settled(Settled {
            settle_id: batch.settle_id,
            deliveries: deliveries.collect(),
            leases: batch.leases.iter().map(|_| outcome.into()).collect(),
            durability: Durability::Fsynced.into(),
        }))
        .await;
    }

    pub(crate) async fn respond(&self, response: consume_response::Response) {
        let message = ConsumeResponse {
            sent_ns: 1,
            response: Some(response),
        };
        soon(self.responses.send(Ok(message))).await.unwrap();
    }

    pub(crate) async fn fail(self, status: Status) {
        soon(self.responses.send(Err(status))).await.unwrap();
    }
}

/// Delivery n of item 100 + n, with a lease and a payload that say so.
pub(crate) fn delivery(n: u64) -> Delivery {
    let item = v1::Item {
        payload: format!("item {n}").into(),
        ..v1::Item::default()
    };
    Delivery {
        delivery_id: n,
        item_id: 100 + n,
        attempt: 1,
        lease: format!("lease {n}").into(),
        queue_wait_ns: 5,
        age_ns: 7,
        item: item.encode_to_vec().into(),
        ..Delivery::default()
    }
}

pub(crate) fn item(payload: &str) -> Item {
    Item::new(payload.to_owned())
}

/// A failure as the broker reports it.
pub(crate) fn refusal(grpc: Code, code: ErrorCode, retry: Option<Duration>) -> Status {
    let reason = code.as_str_name().trim_start_matches("ERROR_CODE_");
    let mut details =
        ErrorDetails::with_error_info(reason, "baton", std::collections::HashMap::new());
    if let Some(delay) = retry {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(grpc, "as the test says", details)
}
