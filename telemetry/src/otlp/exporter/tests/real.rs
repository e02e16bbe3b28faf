//! Collectors behind sockets: OpenTelemetry's own service, and a peer that is none.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use tokio::net::TcpListener;
use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Request, Response};

use super::*;

type Received = (MetadataMap, ExportTraceServiceRequest);

/// Answers as scripted, and hands on what it took.
struct Service {
    replies: Mutex<VecDeque<Status>>,
    taken: mpsc::Sender<Received>,
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if let Some(status) = self.replies.lock().unwrap().pop_front() {
            return Err(status);
        }
        let (metadata, _, request) = request.into_parts();
        self.taken.send((metadata, request)).await.unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector on a port of its own, gone with all its connections once this is dropped.
struct Listening {
    address: SocketAddr,
    taken: mpsc::Receiver<Received>,
    runtime: Option<Runtime>,
}

impl Listening {
    async fn start(address: &str, replies: Vec<Status>) -> Self {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener.into_std().unwrap();
        let (taken, received) = mpsc::channel(100);
        let service = TraceServiceServer::new(Service {
            replies: Mutex::new(replies.into()),
            taken,
        });
        let service = service.accept_compressed(CompressionEncoding::Gzip);
        runtime.spawn(async {
            let connections = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            let server = Server::builder().add_service(service);
            server.serve_with_incoming(connections).await.unwrap();
        });
        Self {
            address,
            taken: received,
            runtime: Some(runtime),
        }
    }

    async fn next(&mut self) -> Received {
        let received = timeout(PATIENCE, self.taken.recv()).await;
        received.expect("a request arrives").unwrap()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

fn exporter(address: SocketAddr, more: &[(&str, &str)]) -> Running {
    let endpoint = format!("http://{address}");
    let first = ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str());
    let variables: Vec<_> = more.iter().copied().chain([first]).collect();
    Running::start(Exporter::new(settings(&variables)))
}

#[tokio::test]
async fn a_collector_receives_what_was_sent() {
    let mut collector = Listening::start("127.0.0.1:0", Vec::new()).await;
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20x");
    let running = exporter(collector.address, &[headers]);
    let sent = [
        samples::spans(None, &["item orders"]),
        samples::spans(Some("shop"), &["create orders"]),
    ];
    for spans in &sent {
        assert!(running.handle.try_send(spans.clone()));
    }
    let (metadata, received) = collector.next().await;
    let names = samples::names(&received);
    assert_eq!(names[0], ("broker".into(), vec!["item orders".into()]));
    assert_eq!(names[1], ("shop".into(), vec!["create orders".into()]));
    assert_eq!(metadata.get("authorization").unwrap(), "Basic x");
    assert_eq!(metadata.get("grpc-encoding").unwrap(), "gzip");
    let agent = metadata.get("user-agent").unwrap().to_str().unwrap();
    assert!(agent.starts_with("Baton-OTLP-Exporter-Rust/"), "{agent}");
    running.until(|it| it.exported() == 2).await;
    running.end().await;
}

#[tokio::test]
async fn a_request_of_many_spans_arrives_compressed_or_not() {
    let mut collector = Listening::start("127.0.0.1:0", Vec::new()).await;
    for compression in ["gzip", "none"] {
        let variable = ("OTEL_EXPORTER_OTLP_COMPRESSION", compression);
        let running = exporter(collector.address, &[variable]);
        for _ in 0..3 {
            assert!(running.handle.try_send(samples::big(500_000)));
        }
        let (metadata, received) = collector.next().await;
        assert_eq!(
            metadata.contains_key("grpc-encoding"),
            compression == "gzip"
        );
        assert_eq!(received.encoded_len() / 1_000_000, 1);
        let (_, handle) = running.end().await;
        assert_eq!(handle.counters().exported(), 3);
    }
}

#[tokio::test]
async fn a_collector_that_is_not_ready_yet_is_asked_again() {
    let unavailable = || Status::unavailable("starting");
    let replies = vec![unavailable(), unavailable()];
    let mut collector = Listening::start("127.0.0.1:0", replies).await;
    let running = exporter(collector.address, &[]);
    running.send(&["a"]);
    let (_, received) = collector.next().await;
    assert_eq!(span_count(&received), 1);
    let (_, handle) = running.end().await;
    assert_eq!(
        (handle.counters().exported(), handle.counters().lost()),
        (1, 0)
    );
}

#[tokio::test]
async fn export_resumes_after_the_collector_was_restarted() {
    let mut collector = Listening::start("127.0.0.1:0", Vec::new()).await;
    let address = collector.address;
    let running = exporter(address, &[]);
    running.send(&["before"]);
    collector.next().await;
    running.until(|it| it.exported() == 1).await;
    drop(collector);
    running.send(&["meanwhile"]);
    let nobody = bind_again(address).await;
    timeout(PATIENCE, nobody.accept())
        .await
        .expect("it is tried again")
        .unwrap();
    drop(nobody);
    let mut collector = Listening::start(&address.to_string(), Vec::new()).await;
    let (_, received) = collector.next().await;
    assert_eq!(samples::names(&received)[0].1, ["meanwhile"]);
    running.until(|it| it.exported() == 2).await;
    assert_eq!(running.handle.counters().lost(), 0);
    running.end().await;
}

/// The runtime that had the port ends in its own time.
async fn bind_again(address: SocketAddr) -> TcpListener {
    let bound = async {
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => return listener,
                Err(_) => sleep(Duration::from_millis(1)).await,
            }
        }
    };
    timeout(PATIENCE, bound)
        .await
        .expect("the port is free again")
}

/// It may be another program on that port: no gRPC, and no refusal either.
#[tokio::test]
async fn a_peer_that_closes_every_connection_is_no_collector() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connected, mut connections) = mpsc::channel(100);
    let mut peer = JoinSet::new();
    peer.spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            drop(connection);
            connected.send(()).await.unwrap();
        }
    });
    let running = exporter(address, &[]);
    running.send(&["a"]);
    for _ in 0..2 {
        let again = timeout(PATIENCE, connections.recv()).await;
        again.expect("it connects again").unwrap();
    }
    assert_eq!(running.handle.counters().lost(), 0, "it is tried again");
}

#[tokio::test]
async fn a_peer_that_accepts_and_is_silent_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let timeout_ms = ("OTEL_EXPORTER_OTLP_TIMEOUT", "50");
    let running = exporter(listener.local_addr().unwrap(), &[timeout_ms]);
    running.send(&["a"]);
    let mut connections = Vec::new();
    for _ in 0..3 {
        let accepted = timeout(PATIENCE, listener.accept()).await;
        connections.push(accepted.expect("a new connection for each try").unwrap());
    }
    assert_eq!(connections.len(), 3);
    assert_eq!(running.handle.counters().lost(), 0);
}
