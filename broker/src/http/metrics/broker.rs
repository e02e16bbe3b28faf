//! The metrics that are of no queue: journal, clients, traces, ledgers.

use baton_journal::Counters;
use baton_ledger::budget::Dropped;
use baton_ledger::sampling::Kept;
use baton_telemetry::otlp::ExportHandle;

use super::distribution::Distribution;
use super::family::{Family, Text, Value, seconds};
use crate::engine::{Client, Engine, Keep, Readiness, Role};

/// All of them.
pub(super) fn families(engine: &Engine, exporter: Option<&ExportHandle>) -> Vec<Family> {
    let mut families = vec![build(engine)];
    families.extend(journal(engine));
    families.extend(clients(engine));
    families.extend(traces(engine, exporter));
    families.extend(ledgers(engine));
    families
}

fn build(engine: &Engine) -> Family {
    let keep = match engine.settings().keep {
        Keep::Memory { .. } => "memory",
        Keep::Journal(_) => "journal",
    };
    let mut build = Family::gauge("baton_build_info", "Always 1: which broker this is");
    let version = Text::Fixed(env!("CARGO_PKG_VERSION"));
    let labels = [
        Some(("version", version)),
        Some(("engine", Text::Fixed(keep))),
    ];
    build.push(labels, Value::Whole(1));
    build
}

/// Zeros where there is none, so that queries and alerts need not care.
fn journal(engine: &Engine) -> [Family; 7] {
    let Counters {
        commits,
        bytes,
        syncs,
        sync_ns,
        sync_ns_max: _,
        segments,
        spares,
    } = engine.journal_counters().unwrap_or_default();
    let times = engine.commit_times().unwrap_or_default();
    let full = engine.readiness() == Readiness::DiskFull;
    [
        Family::counter(
            "baton_journal_commits_total",
            "Commits that were made durable",
        )
        .of(Value::Whole(commits)),
        Family::counter("baton_journal_synced_bytes_total", "Bytes that they wrote")
            .of(Value::Whole(bytes)),
        Family::counter("baton_journal_syncs_total", "Syncs that they took")
            .of(Value::Whole(syncs)),
        Family::counter(
            "baton_journal_sync_seconds_total",
            "Time spent in these syncs",
        )
        .of(seconds(sync_ns)),
        Family::histogram(
            "baton_journal_commit_seconds",
            "How long each commit of items took, write and sync",
        )
        .of(Value::Times(Distribution::of(&times), Vec::new())),
        Family::gauge(
            "baton_journal_segments",
            "Segments that are in use, and that are prepared",
        )
        .by(
            "state",
            [
                ("used", Value::Whole(segments)),
                ("spare", Value::Whole(spares)),
            ],
        ),
        Family::gauge(
            "baton_disk_full",
            "1 while items are refused for want of disk",
        )
        .of(Value::Whole(full.into())),
    ]
}

/// How a client's clock compares to the broker's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClockKind {
    Same,
    Estimated,
    Unknown,
}

impl ClockKind {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Same, "same"),
        (Self::Estimated, "estimated"),
        (Self::Unknown, "unknown"),
    ];

    fn of(client: &Client) -> Self {
        match client.clock(client.since_ns) {
            _ if client.same_clock => Self::Same,
            Some(_) => Self::Estimated,
            None => Self::Unknown,
        }
    }
}

fn clients(engine: &Engine) -> [Family; 2] {
    let all = engine.clients().list(usize::MAX);
    let mut clients = Family::gauge(
        "baton_clients",
        "Streams that are open, by how their clocks compare to the broker's",
    );
    for (role, name) in [(Role::Producer, "producer"), (Role::Consumer, "consumer")] {
        for (kind, clock) in ClockKind::ALL {
            let fitting = |client: &&_| is(client, role, kind);
            let count = all.iter().map(AsRef::as_ref).filter(fitting).count();
            let labels = [
                Some(("role", Text::Fixed(name))),
                Some(("clock", Text::Fixed(clock))),
            ];
            clients.push(labels, Value::Whole(count as u64));
        }
    }
    let now_ns = engine.clock().monotonic_ns();
    let errors = all.iter().filter_map(|client| client.clock(now_ns));
    let largest = errors.map(|clock| clock.error_ns).max().unwrap_or(0);
    let error = Family::gauge(
        "baton_clock_error_seconds",
        "No open stream's clock is compared with a larger error; 0 if all are the broker's own or not known yet",
    );
    [clients, error.of(seconds(largest))]
}

fn is(client: &Client, role: Role, kind: ClockKind) -> bool {
    client.role == role && ClockKind::of(client) == kind
}

/// Zeros where nothing is exported.
fn traces(engine: &Engine, exporter: Option<&ExportHandle>) -> [Family; 3] {
    let counters = exporter.map(ExportHandle::counters);
    let count =
        |of: fn(&baton_telemetry::otlp::Counters) -> u64| Value::Whole(counters.map_or(0, of));
    let limit = engine.ledgers().map(|ledgers| &ledgers.limit);
    let mut worth = Family::counter(
        "baton_traces_total",
        "Items that were worth a trace, by the reason: they got one, or the limit refused it",
    );
    for reason in Kept::ALL {
        let counts = limit.map_or([0; 2], |limit| [limit.kept(reason), limit.refused(reason)]);
        for (result, count) in ["kept", "refused"].into_iter().zip(counts) {
            let label = |name, text| Some((name, Text::Fixed(text)));
            let labels = [label("result", result), label("reason", reason.name())];
            worth.push(labels, Value::Whole(count));
        }
    }
    [
        Family::counter("baton_trace_spans_total", "Spans by what became of them").by(
            "result",
            [
                ("exported", count(|counters| counters.exported())),
                ("dropped", count(|counters| counters.dropped())),
                ("rejected", count(|counters| counters.rejected())),
                ("failed", count(|counters| counters.failed())),
            ],
        ),
        Family::gauge(
            "baton_trace_queued_bytes",
            "Memory of spans that are on their way out",
        )
        .of(count(|counters| counters.queued_bytes())),
        worth,
    ]
}

/// Zeros where nobody wants to know where time goes.
fn ledgers(engine: &Engine) -> [Family; 3] {
    let budget = engine.ledgers().map(|ledgers| &ledgers.budget);
    let bytes = |bytes: Option<usize>| Value::Whole(bytes.unwrap_or(0) as u64);
    let dropped = Dropped::ALL.map(|what| {
        let count = budget.map_or(0, |budget| budget.dropped(what));
        (what.name(), Value::Whole(count))
    });
    [
        Family::gauge("baton_ledger_bytes", "Memory of where items' time went")
            .of(bytes(budget.map(|budget| budget.used()))),
        Family::gauge(
            "baton_ledger_limit_bytes",
            "Memory that there may be for it",
        )
        .of(bytes(budget.map(|budget| budget.limit()))),
        Family::counter(
            "baton_ledger_dropped_total",
            "Details that were dropped for want of that memory",
        )
        .by("what", dropped),
    ]
}
