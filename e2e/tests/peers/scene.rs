//! A broker that exports to a test agent all that its flags allow, and what happens there.

use std::time::Duration;

use baton_client::{Queue, QueueBackoff, QueueConfig};
use baton_e2e::broker::{Broker, Launch};
use baton_e2e::processes::{PATIENCE, Process};
use tokio::time::{sleep, timeout};

use crate::agent::Agent;
use crate::http;
use crate::item_trace::operation;
use crate::programs::Programs;
use crate::spans::Span;
use crate::tree::Trace;

/// As many traces as anyone could want.
pub(crate) const NO_LIMIT: [&str; 2] = ["--trace-limit", "1000000"];
/// The same, of every item that nobody else chose.
pub(crate) const ALL: [&str; 4] = ["--trace-limit", "1000000", "--trace-baseline", "1"];
/// What the producers of a scene call themselves.
pub(crate) const PRODUCER: &str = "shop";
/// Variables of a producer that traces nothing by itself.
pub(crate) const UNTRACED: [(&str, &str); 1] = [("OTEL_TRACES_SAMPLER", "always_off")];
/// What its consumers call themselves.
pub(crate) const CONSUMER: &str = "cook";

/// What became of items whose producer wanted a trace of them, as series of the broker's metrics.
pub(crate) const HEAD_KEPT: &str = "baton_traces_total{result=\"kept\",reason=\"head\"}";
pub(crate) const HEAD_REFUSED: &str = "baton_traces_total{result=\"refused\",reason=\"head\"}";

#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) agent: Agent,
    pub(crate) broker: Broker,
    programs: Programs,
}

impl Scene {
    /// With these arguments of the broker.
    pub(crate) async fn with(arguments: &[&str]) -> Self {
        let agent = Agent::start().await;
        let programs = Programs::exporting_to(agent.url());
        let launch = Launch::durable().and(arguments);
        let broker = programs.broker(launch).await;
        Self {
            agent,
            broker,
            programs,
        }
    }

    /// A queue with these settings, but without a back-off, which is drawn by chance.
    pub(crate) async fn queue(&self, name: &str, config: QueueConfig) -> Queue {
        let queue = self.broker.client().queue(name);
        let none = Duration::ZERO.try_into().ok();
        let backoff = Some(QueueBackoff {
            initial: none,
            max: none,
        });
        queue
            .create(QueueConfig { backoff, ..config })
            .await
            .unwrap();
        queue
    }

    /// Lets a program publish these lines, each of them traced, and waits for its end.
    pub(crate) async fn send(&self, queue: &str, lines: &str) {
        self.send_in(&[], (queue, &[]), lines).await;
    }

    /// The same, with these variables set, and these arguments.
    pub(crate) async fn send_in(
        &self,
        variables: &[(&str, &str)],
        (queue, arguments): (&str, &[&str]),
        lines: &str,
    ) {
        let producer = self.program(PRODUCER, variables);
        let arguments = [&[queue, "send"], arguments].concat();
        let producer = producer.producer(&self.broker.url(), &arguments);
        producer.finish_with(lines.as_bytes()).await.ok();
    }

    /// Runs a shell script for each item until there is none.
    pub(crate) async fn work_off(&self, queue: &str, script: &str) -> Vec<String> {
        let consumer = self.consumer(
            CONSUMER,
            &[queue, "exec", "--until-drained", "--", "sh", "-c", script],
        );
        let finished = consumer.finish().await.ok();
        finished.lines().into_iter().map(str::to_owned).collect()
    }

    /// A consumer of this name.
    pub(crate) fn consumer(&self, service: &str, arguments: &[&str]) -> Process {
        let programs = self.program(service, &[]);
        programs.consumer(&self.broker.url(), arguments)
    }

    fn program(&self, service: &str, variables: &[(&str, &str)]) -> Programs {
        let programs = self.programs.clone().with("OTEL_SERVICE_NAME", service);
        variables.iter().fold(programs, |programs, (name, value)| {
            programs.with(name, value)
        })
    }

    /// kill -9, and another broker in its place.
    pub(crate) async fn restart(self) -> Self {
        let launch = self.broker.kill().await;
        let broker = launch.start().await;
        Self { broker, ..self }
    }

    /// What a series of the broker's metrics is now, such as [`HEAD_KEPT`].
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = http::fetch(self.broker.http(), "/metrics").await;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(series));
        let value = value.unwrap_or_else(|| panic!("no {series} in {text}"));
        value.trim().parse().unwrap()
    }

    /// Asks until it is as it should be.
    pub(crate) async fn metric_when(&self, series: &str, holds: impl Fn(f64) -> bool) -> f64 {
        let mut last = 0.0;
        let ask = async {
            loop {
                last = self.metric(series).await;
                if holds(last) {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let asked = timeout(PATIENCE, ask).await;
        assert!(asked.is_ok(), "{series} never got there: {last}");
        last
    }

    /// Waits for the traces of so many items, with so many spans together but for those of batches.
    pub(crate) async fn traces(&self, items: usize, spans: usize) -> Vec<Trace> {
        let is = |name: &str, span: &Span| operation(span) == name;
        let complete = |all: &[Span]| {
            let batches = all.iter().filter(|span| is("publish", span)).count();
            let found = all.iter().filter(|span| is("item", span)).count();
            found >= items && all.len() - batches >= spans
        };
        Trace::all(self.agent.spans_when(complete).await)
    }
}
