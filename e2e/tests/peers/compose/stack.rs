//! The stack of docker-compose.yml with e2e/compose/override.yml over it: under a name and on ports of its own, so that it meets no other.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use baton_client::{Client, FailureReason, ItemOutcome, QueueStats};
use baton_e2e::ports::free_port;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::sleep;

use super::docker::{PATIENCE, Ran, docker, inspect, run};
use super::evidence::{Counts, Evidence};
use super::said::Said;
use crate::http;

/// Not `baton`: somebody may have that running.
const PROJECT: &str = "baton-test";
pub(super) const QUEUE: &str = "demo";
/// Compiling everything on two busy cores.
const BUILD_PATIENCE: Duration = Duration::from_secs(45 * 60);

/// One stack at a time.
static TURN: Mutex<()> = Mutex::const_new(());
static BUILT: OnceLock<()> = OnceLock::new();

/// Goes with the value, data and all.
#[derive(Debug)]
pub(super) struct Stack {
    said: Said,
    grpc: u16,
    agent: u16,
    variables: Vec<(&'static str, String)>,
    _turn: MutexGuard<'static, ()>,
}

impl Stack {
    /// Brings it up with so many producers and consumers, and waits until items are processed.
    pub(super) async fn up(producers: usize, consumers: usize) -> Self {
        Self::up_with(&[], producers, consumers).await
    }

    /// The same, with these variables set too.
    pub(super) async fn up_with(
        variables: &[(&'static str, &str)],
        producers: usize,
        consumers: usize,
    ) -> Self {
        let turn = TURN.lock().await;
        let said = Said::listen().await;
        let (grpc, http, agent) = (free_port(), free_port(), free_port());
        let mut all: Vec<_> = [
            ("LOG_PORT", said.port()),
            ("GRPC_PORT", grpc),
            ("HTTP_PORT", http),
            ("AGENT_PORT", agent),
        ]
        .map(|(name, port)| (name, port.to_string()))
        .into();
        all.push(("COMPOSE_PROFILES", String::new()));
        all.extend(
            variables
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let stack = Self {
            said,
            grpc,
            agent,
            variables: all,
            _turn: turn,
        };
        stack.build().await;
        stack
            .compose(&["down", "--volumes", "--timeout", "1"])
            .await;
        stack.scale(producers, consumers).await;
        stack.goes_on().await;
        stack
    }

    /// Once, whatever tests there are.
    async fn build(&self) {
        if BUILT.get().is_some() {
            return;
        }
        let variables = [
            &self.variables[..],
            &[("COMPOSE_PROFILES", "traces".to_owned())],
        ]
        .concat();
        let ran = run(&arguments(&["build"]), &variables, BUILD_PATIENCE).await;
        assert_eq!(ran.code, 0, "{}", ran.output);
        BUILT.get_or_init(|| ());
    }

    pub(super) async fn try_compose(&self, words: &[&str]) -> Ran {
        run(&arguments(words), &self.variables, PATIENCE).await
    }

    /// Runs what has to succeed.
    pub(super) async fn compose(&self, words: &[&str]) -> String {
        let ran = self.try_compose(words).await;
        assert_eq!(ran.code, 0, "docker compose {words:?}: {}", ran.output);
        ran.output
    }

    /// As a user does it.
    pub(super) async fn scale(&self, producers: usize, consumers: usize) {
        let producers = format!("producer={producers}");
        let consumers = format!("consumer={consumers}");
        let words = [
            "up", "--detach", "--scale", &producers, "--scale", &consumers,
        ];
        self.compose(&words).await;
    }

    /// Names of a service's containers, whatever their state.
    pub(super) async fn containers(&self, service: &str) -> Vec<String> {
        let project = format!("label=com.docker.compose.project={PROJECT}");
        let service = format!("label=com.docker.compose.service={service}");
        let words = [
            "ps",
            "--all",
            "--filter",
            &project,
            "--filter",
            &service,
            "--format",
            "{{.Names}}",
        ];
        let mut names: Vec<_> = docker(&words).await.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// All of the programs'.
    pub(super) async fn all_containers(&self) -> Vec<String> {
        let mut names = Vec::new();
        for service in ["broker", "producer", "consumer"] {
            names.extend(self.containers(service).await);
        }
        names
    }

    pub(super) fn broker(&self) -> String {
        format!("{PROJECT}-broker-1")
    }

    pub(super) fn network(&self) -> String {
        format!("{PROJECT}_default")
    }

    pub(super) fn volume(&self) -> String {
        format!("{PROJECT}_data")
    }

    pub(super) fn image(&self, service: &str) -> String {
        format!("{PROJECT}-{service}")
    }

    pub(super) fn client(&self) -> Client {
        let url = format!("http://127.0.0.1:{}", self.grpc);
        Client::builder(url)
            .give_up_after(PATIENCE)
            .build()
            .unwrap()
    }

    pub(super) async fn stats(&self) -> QueueStats {
        self.client().queue(QUEUE).stats().await.unwrap()
    }

    /// From the tracing peer.
    pub(super) async fn fetch_traces(&self) -> String {
        http::fetch(&format!("127.0.0.1:{}", self.agent), "/test/session/traces").await
    }

    pub(super) fn counts(&self) -> Counts {
        self.said.ask(Evidence::counts)
    }

    pub(super) fn ask<T>(&self, question: impl FnOnce(&Evidence) -> T) -> T {
        self.said.ask(question)
    }

    /// Waits until items are confirmed and acknowledged that were not so before.
    pub(super) async fn goes_on(&self) {
        let before = self.counts();
        self.until("the work goes on", || {
            let now = self.counts();
            now.confirmed > before.confirmed + 10 && now.acked > before.acked + 10
        })
        .await;
    }

    /// Asks until it holds.
    pub(super) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            let last: Vec<_> = self
                .ask(|it| it.others(|_| true))
                .into_iter()
                .rev()
                .take(20)
                .collect();
            assert!(
                begun.elapsed() < PATIENCE,
                "not seen: {what}; {:?}; {last:#?}",
                self.counts()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks the broker about items that were processed more than once: every attempt but the last has to have failed, for a reason. Of how
    /// many it still knows; it forgets those that ended before it was restarted.
    pub(super) async fn every_repeat_is_explained(&self) -> usize {
        let queue = self.client().queue(QUEUE);
        let mut explained = 0;
        for (item, last) in self.ask(Evidence::repeated) {
            let why = queue.explain(item).await.unwrap();
            let failed: BTreeMap<_, _> = why
                .deliveries
                .iter()
                .filter(|it| it.outcome() == ItemOutcome::Failed)
                .map(|it| (it.attempt, it.reason()))
                .collect();
            if failed.is_empty() {
                continue;
            }
            for attempt in 1..last {
                let reason = failed.get(&attempt).copied().unwrap_or_default();
                assert_ne!(
                    reason,
                    FailureReason::Unspecified,
                    "attempt {attempt} of {why:#?}"
                );
            }
            explained += 1;
        }
        explained
    }

    /// Ends the producers, lets the queue drain, ends the rest, and asks whether every promise was kept. What it came to.
    pub(super) async fn ends_well(self) -> Counts {
        self.compose(&["stop", "producer"]).await;
        let stats = self.drained().await;
        self.compose(&["stop"]).await;
        self.ended_by_themselves().await;
        let violations = self.ask(|evidence| evidence.violations(&stats));
        assert!(violations.is_empty(), "{violations:#?}");
        let faults = self
            .ask(|it| it.others(|line| line.contains("panicked at") || line.contains(" ERROR ")));
        assert!(faults.is_empty(), "{faults:#?}");
        self.counts()
    }

    /// Waits until nothing is left, and all that was said has arrived.
    pub(super) async fn drained(&self) -> QueueStats {
        let begun = Instant::now();
        loop {
            let stats = self.stats().await;
            let left = stats.scheduled + stats.ready + stats.leased;
            if left == 0 && self.ask(|evidence| evidence.violations(&stats)).is_empty() {
                return stats;
            }
            if begun.elapsed() > PATIENCE {
                return stats;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Each container ended with 0 when it was told to, and none was ended for its memory.
    pub(super) async fn ended_by_themselves(&self) {
        let format = "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}";
        let mut found = BTreeMap::new();
        for container in self.all_containers().await {
            let state = inspect(&container, format).await;
            found.insert(container, state);
        }
        let wrong: Vec<_> = found
            .iter()
            .filter(|(_, state)| *state != "exited 0 false")
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

impl Drop for Stack {
    /// A value that is dropped while a test fails has no runtime to wait in.
    fn drop(&mut self) {
        let mut down = std::process::Command::new("docker");
        let words = arguments(&["down", "--volumes", "--timeout", "5"]);
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap();
        down.args(words).current_dir(root);
        down.envs(self.variables.iter().map(|(name, value)| (name, value)));
        down.env("COMPOSE_PROFILES", "traces");
        let output = down.output();
        if !std::thread::panicking() {
            assert!(
                output.as_ref().is_ok_and(|it| it.status.success()),
                "{output:?}"
            );
        }
    }
}

fn arguments<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let files = [
        "--file",
        "docker-compose.yml",
        "--file",
        "e2e/compose/override.yml",
    ];
    let project = ["compose", "--project-name", PROJECT, "--progress", "plain"];
    [&project[..], &files, words].concat()
}
