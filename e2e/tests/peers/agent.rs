//! Datadog's test agent: a collector that takes OTLP and answers with all it was sent, until it is cleared or dies. It
//! refuses requests of more than 1 MiB as partial success, and ones of more than 4 MiB with RESOURCE_EXHAUSTED.

use std::time::Duration;

use baton_e2e::ports::free_port;
use baton_e2e::processes::PATIENCE;
use baton_e2e::scratch::Scratch;
use tokio::time::{sleep, timeout};

use crate::foreign::Foreign;
use crate::http;
use crate::metrics::{self, Metric};
use crate::spans::{self, Span};
use crate::tree::Trace;

const NAME: &str = "ddapm-test-agent";

/// Dies with the value.
#[derive(Debug)]
pub(crate) struct Agent {
    grpc: u16,
    /// OTLP over HTTP, and questions.
    http: String,
    process: Foreign,
    arguments: Vec<String>,
    scratch: Scratch,
}

impl Agent {
    pub(crate) async fn start() -> Self {
        let (own, http, grpc) = (free_port(), free_port(), free_port());
        let ports = [
            ("--port", own),
            ("--otlp-http-port", http),
            ("--otlp-grpc-port", grpc),
        ];
        let mut arguments: Vec<String> = ports
            .iter()
            .flat_map(|(flag, port)| [(*flag).to_owned(), port.to_string()])
            .collect();
        arguments
            .extend(["--log-level", "INFO", "--disable-llmobs-data-forwarding"].map(String::from));
        let scratch = Scratch::new();
        let mut agent = Self {
            grpc,
            http: format!("127.0.0.1:{http}"),
            process: Foreign::start(NAME, &scratch, &arguments),
            arguments,
            scratch,
        };
        agent.serves().await;
        agent
    }

    async fn serves(&mut self) {
        let http = &self.http;
        let answers = async || http::get(http, "/test/session/traces").await.is_ok();
        self.process.wait_until(answers).await;
    }

    /// Where it takes OTLP over gRPC: also while it is dead.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    /// Forgets all it was sent.
    pub(crate) async fn clear(&self) {
        http::fetch(&self.http, "/test/session/clear").await;
    }

    /// All spans that it was sent, in any order.
    pub(crate) async fn spans(&self) -> Vec<Span> {
        let answer = http::fetch(&self.http, "/test/session/traces").await;
        spans::parse(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Asks until the spans are as they should be.
    pub(crate) async fn spans_when(&self, holds: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let mut last = Vec::new();
        let ask = async {
            loop {
                last = self.spans().await;
                if holds(&last) {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let asked = timeout(PATIENCE, ask).await;
        if asked.is_err() {
            let traces = Trace::all(last);
            let outlines = traces.iter().take(20).map(Trace::outline);
            let (some, count) = (outlines.collect::<String>(), traces.len());
            panic!("the spans never came; some of {count} traces:\n{some}");
        }
        last
    }

    /// All metrics that it was sent by OTLP, the newest first.
    pub(crate) async fn metrics(&self) -> Vec<Metric> {
        let answer = http::fetch(&self.http, "/test/session/metrics").await;
        metrics::parse(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// kill -9; it forgets all it was sent.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts it again on the same ports.
    pub(crate) async fn restart(&mut self) {
        self.process = Foreign::start(NAME, &self.scratch, &self.arguments);
        self.serves().await;
    }
}
