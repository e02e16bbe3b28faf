//! The exporter against collectors of all kinds: scripted ones on a clock that is told what time it is, and real ones.

use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest,
};
use prost::Message;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::otlp::samples;

mod real;

/// Longer than anything takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a collector does with a request.
enum Reply {
    /// All but so many, and says why.
    TakeBut(i64),
    Fail(Status),
    /// Never answers.
    Hang,
    /// Loses the connection.
    Break,
}

/// A collector that answers as it was told, and from then on takes everything.
#[derive(Clone, Default)]
struct Script {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    /// When each request came, and of which spans.
    requests: Arc<Mutex<Vec<(Instant, ExportTraceServiceRequest)>>>,
    connections: Arc<Mutex<u32>>,
    then_hangs: bool,
}

impl Script {
    fn of(replies: impl IntoIterator<Item = Reply>) -> Self {
        let script = Self::default();
        script.replies.lock().unwrap().extend(replies);
        script
    }

    fn that_hangs() -> Self {
        Self {
            then_hangs: true,
            ..Self::default()
        }
    }

    fn collector(&self) -> Collector {
        let script = self.clone();
        let connect = move || -> super::super::collector::Connection {
            *script.connections.lock().unwrap() += 1;
            let script = script.clone();
            Box::new(move |request| Box::pin(script.clone().answer(request)))
        };
        Collector::new(connect, Duration::from_secs(10))
    }

    async fn answer(self, request: Bytes) -> Result<ExportTraceServiceResponse, Status> {
        let request = ExportTraceServiceRequest::decode(request).unwrap();
        self.requests
            .lock()
            .unwrap()
            .push((Instant::now(), request));
        let reply = self.replies.lock().unwrap().pop_front();
        match reply {
            None if self.then_hangs => std::future::pending().await,
            Some(Reply::Hang) => std::future::pending().await,
            None => Ok(ExportTraceServiceResponse::default()),
            Some(Reply::TakeBut(rejected_spans)) => Ok(ExportTraceServiceResponse {
                partial_success: Some(ExportTracePartialSuccess {
                    rejected_spans,
                    error_message: "too old".into(),
                }),
            }),
            Some(Reply::Fail(status)) => Err(status),
            Some(Reply::Break) => {
                let broken = io::Error::from(io::ErrorKind::BrokenPipe);
                let mut status = Status::unknown("transport error");
                status.set_source(Arc::new(broken));
                Err(status)
            }
        }
    }

    /// Until so many requests have come.
    async fn until_asked(&self, times: usize) {
        let wait = async {
            while self.requests.lock().unwrap().len() < times {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE * 2, wait).await.expect("a request comes");
    }

    /// Spans of each request.
    fn sizes(&self) -> Vec<usize> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|(_, it)| span_count(it)).collect()
    }

    /// Time between requests.
    fn pauses(&self) -> Vec<Duration> {
        let requests = self.requests.lock().unwrap();
        requests.windows(2).map(|it| it[1].0 - it[0].0).collect()
    }
}

fn span_count(request: &ExportTraceServiceRequest) -> usize {
    samples::names(request).iter().map(|it| it.1.len()).sum()
}

fn settings(variables: &[(&str, &str)]) -> Settings {
    let read = |name: &str| {
        let found = variables.iter().find(|it| it.0 == name);
        found.map(|it| it.1.to_owned())
    };
    Settings::from_env("broker", &read).unwrap().unwrap()
}

fn anywhere() -> Settings {
    settings(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")])
}

/// An exporter at work.
struct Running {
    handle: ExportHandle,
    shutdown: CancellationToken,
    task: JoinSet<()>,
}

impl Running {
    fn start((exporter, handle): (Exporter, ExportHandle)) -> Self {
        let (shutdown, mut task) = (CancellationToken::new(), JoinSet::new());
        task.spawn(exporter.run(shutdown.clone()));
        Self {
            handle,
            shutdown,
            task,
        }
    }

    fn against(script: &Script) -> Self {
        Self::start(Exporter::with_collector(anywhere(), script.collector()))
    }

    fn send(&self, names: &[&str]) {
        assert!(self.handle.try_send(samples::spans(None, names)));
    }

    /// Until the counters are like that.
    async fn until(&self, is_so: impl Fn(&Counters) -> bool) {
        let wait = async {
            while !is_so(self.handle.counters()) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let counters = self.handle.counters();
        timeout(PATIENCE * 2, wait)
            .await
            .unwrap_or_else(|_| panic!("{counters:?}"));
    }

    /// How long it took to end.
    async fn end(mut self) -> (Duration, ExportHandle) {
        self.shutdown.cancel();
        let started = Instant::now();
        let ended = timeout(PATIENCE, self.task.join_next()).await;
        ended.expect("it ends").unwrap().unwrap();
        (started.elapsed(), self.handle)
    }
}

fn unavailable() -> Reply {
    Reply::Fail(Status::unavailable("later"))
}

#[tokio::test(start_paused = true)]
async fn spans_wait_a_second_for_company() {
    let script = Script::default();
    let running = Running::against(&script);
    let started = Instant::now();
    running.send(&["a", "b"]);
    sleep(Duration::from_millis(900)).await;
    running.send(&["c"]);
    running.until(|it| it.exported() == 3).await;
    assert_eq!(script.sizes(), [3]);
    let waited = script.requests.lock().unwrap()[0].0 - started;
    assert_eq!(waited.as_millis(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait() {
    let script = Script::default();
    let running = Running::against(&script);
    let started = Instant::now();
    for _ in 0..300 {
        running.send(&["a", "b"]);
    }
    running.until(|it| it.exported() == 600).await;
    assert_eq!(script.sizes(), [512, 88]);
    let requests = script.requests.lock().unwrap();
    assert!(requests[0].0 - started < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_a_mebibyte_is_full() {
    let script = Script::default();
    let running = Running::against(&script);
    for _ in 0..5 {
        assert!(running.handle.try_send(samples::big(400_000)));
    }
    running.until(|it| it.exported() == 5).await;
    assert_eq!(script.sizes(), [3, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_now_is_sent_again() {
    let script = Script::of([unavailable(), unavailable()]);
    let running = Running::against(&script);
    running.send(&["a"]);
    running.until(|it| it.exported() == 1).await;
    let requests = script.requests.lock().unwrap().clone();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|it| it.1 == requests[0].1));
    assert_eq!(running.handle.counters().lost(), 0);
    let pauses = script.pauses();
    assert!((250..=501).contains(&pauses[0].as_millis()), "{pauses:?}");
    assert!((500..=1001).contains(&pauses[1].as_millis()), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_asks_for_time_gets_it() {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(7)));
    let throttled = Status::with_error_details(Code::ResourceExhausted, "slow down", details);
    let script = Script::of([Reply::Fail(throttled)]);
    let running = Running::against(&script);
    running.send(&["a"]);
    running.until(|it| it.exported() == 1).await;
    assert_eq!(script.pauses()[0].as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_not_sent_again() {
    let script = Script::of([Reply::Fail(Status::invalid_argument("no"))]);
    let running = Running::against(&script);
    running.send(&["a", "b"]);
    running.until(|it| it.rejected() == 2).await;
    running.send(&["c"]);
    running.until(|it| it.exported() == 1).await;
    assert_eq!(script.sizes(), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn part_of_a_request_can_be_rejected() {
    let script = Script::of([Reply::TakeBut(2), Reply::TakeBut(0), Reply::TakeBut(-1)]);
    let running = Running::against(&script);
    running.send(&["a", "b", "c"]);
    running
        .until(|it| it.exported() == 1 && it.rejected() == 2)
        .await;
    for exported in [2, 3] {
        running.send(&["d"]);
        running.until(|it| it.exported() == exported).await;
    }
    assert_eq!(script.sizes(), [3, 1, 1]);
    assert_eq!(running.handle.counters().lost(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_given_up_after_a_minute_and_the_next_one_has_its_turn() {
    let script = Script::of((0..1000).map(|_| unavailable()));
    let running = Running::against(&script);
    running.send(&["a"]);
    running.until(|it| it.failed() == 1).await;
    let tried: Duration = script.pauses().iter().sum();
    assert!((40..=60).contains(&tried.as_secs()), "{tried:?}");
    script.replies.lock().unwrap().clear();
    running.send(&["b"]);
    running.until(|it| it.exported() == 1).await;
    assert_eq!(running.handle.counters().queued_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_broke_is_not_used_again() {
    let script = Script::of([Reply::Break, unavailable()]);
    let running = Running::against(&script);
    running.send(&["a"]);
    running.until(|it| it.exported() == 1).await;
    assert_eq!(script.sizes(), [1, 1, 1]);
    assert_eq!(*script.connections.lock().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_ends_and_the_next_goes_over_a_new_connection() {
    let script = Script::of([Reply::Hang, unavailable()]);
    let running = Running::against(&script);
    running.send(&["a"]);
    running.until(|it| it.exported() == 1).await;
    assert!(script.pauses()[0] >= Duration::from_secs(10));
    assert_eq!(*script.connections.lock().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_never_answers_costs_bounded_memory_and_nobody_waits() {
    let script = Script::that_hangs();
    let bytes_max = 1 << 20;
    let settings = anywhere().with_queue_bytes(bytes_max);
    let running = Running::start(Exporter::with_collector(settings, script.collector()));
    let (mut sent, mut accepted) = (0, 0);
    for round in 0..500 {
        for _ in 0..10 {
            sent += 1;
            accepted += u64::from(running.handle.try_send(samples::big(2000)));
        }
        assert!(running.handle.counters().queued_bytes() <= bytes_max);
        if round % 10 == 0 {
            sleep(Duration::from_millis(100)).await;
        }
    }
    let counters = running.handle.counters();
    assert_eq!(counters.dropped(), sent - accepted);
    assert!(counters.dropped() > 4000, "{counters:?}");
    let (took, handle) = running.end().await;
    assert_eq!(took.as_secs(), 5);
    let counters = handle.counters();
    assert_eq!(counters.failed(), accepted, "{counters:?}");
    assert_eq!((counters.queued_bytes(), counters.exported()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_no_company() {
    let script = Script::default();
    let running = Running::against(&script);
    for _ in 0..700 {
        running.send(&["a"]);
    }
    let (took, handle) = running.end().await;
    assert!(took < Duration::from_millis(10), "{took:?}");
    assert_eq!(handle.counters().exported(), 700);
    assert!(!handle.try_send(samples::spans(None, &["late"])));
    assert_eq!(handle.counters().dropped(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_cuts_a_pause_short_and_tries_once_more() {
    let script = Script::of((0..5).map(|_| unavailable()));
    let running = Running::against(&script);
    running.send(&["a"]);
    // In the pause after the fifth try, of 4 s at least.
    script.until_asked(5).await;
    sleep(Duration::from_millis(10)).await;
    running.send(&["b"]);
    let (took, handle) = running.end().await;
    assert!(took < Duration::from_millis(10), "{took:?}");
    assert_eq!(handle.counters().exported(), 2);
}

/// After an outage of half a minute pauses are longer than the time that is left.
#[tokio::test(start_paused = true)]
async fn the_end_begins_with_short_pauses_again() {
    let script = Script::of((0..9).map(|_| unavailable()));
    let running = Running::against(&script);
    running.send(&["a"]);
    script.until_asked(7).await;
    let (_, handle) = running.end().await;
    assert_eq!(handle.counters().exported(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_makes_pauses_short_again() {
    let script = Script::of((0..5).map(|_| unavailable()));
    let running = Running::against(&script);
    running.send(&["a"]);
    running.until(|it| it.exported() == 1).await;
    script.replies.lock().unwrap().push_back(unavailable());
    running.send(&["b"]);
    running.until(|it| it.exported() == 2).await;
    let last = script.pauses().pop().unwrap();
    assert!(last <= Duration::from_millis(501), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_collector_does_not_keep_the_process() {
    let script = Script::of((0..1000).map(|_| unavailable()));
    let running = Running::against(&script);
    running.send(&["a"]);
    sleep(Duration::from_secs(2)).await;
    running.send(&["b"]);
    let (took, handle) = running.end().await;
    assert_eq!(took.as_secs(), 5);
    assert_eq!(handle.counters().failed(), 2);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_last_handle_and_loses_nothing() {
    let script = Script::default();
    let Running {
        handle, mut task, ..
    } = Running::against(&script);
    assert!(handle.try_send(samples::spans(None, &["a"])));
    drop(handle);
    timeout(PATIENCE, task.join_next()).await.unwrap();
    assert_eq!(script.sizes(), [1]);
}

#[tokio::test(start_paused = true)]
async fn an_aborted_exporter_has_counted_what_it_held() {
    let script = Script::that_hangs();
    let mut running = Running::against(&script);
    running.send(&["a"]);
    script.until_asked(1).await;
    running.send(&["b", "c"]);
    running.task.shutdown().await;
    let counters = running.handle.counters();
    assert_eq!((counters.failed(), counters.queued_bytes()), (3, 0));
}
