//! One item's way through all containers is one trace, in the peer that stands where Jaeger does.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::docker::PATIENCE;
use super::stack::{QUEUE, Stack};
use crate::item_trace::{BROKER, ItemTrace, is_synthesized, operation};
use crate::spans;
use crate::tree::Trace;

const WHOLE: [&str; 8] = [
    "item", "create", "store", "queue", "deliver", "process", "ack", "settle",
];

fn operations(trace: &Trace) -> BTreeSet<&str> {
    let spans = trace.spans.iter().map(operation);
    spans.filter(|&name| name != "publish").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_crosses_all_containers() {
    let stack = Stack::up_with(&[("COMPOSE_PROFILES", "traces")], 1, 2).await;
    let whole = whole_traces(&stack).await;
    for trace in &whole {
        let item = ItemTrace::only(trace).through("broker");
        item.check();
        assert_eq!(trace.absent_parents(), Vec::<String>::new());
        assert!(
            !trace.spans.iter().any(is_synthesized),
            "each wrote its own"
        );
        let services: BTreeSet<_> = trace.spans.iter().map(|span| span.service()).collect();
        assert_eq!(
            services,
            BTreeSet::from([BROKER, "baton-consumer", "baton-producer"])
        );
        let of = |key: &str| -> BTreeSet<&str> {
            let values = trace
                .spans
                .iter()
                .map(|span| span.resource[key].text().unwrap());
            values.collect()
        };
        assert_eq!(of("service.instance.id").len(), 3, "three containers");
        assert_eq!(of("host.id").len(), 1, "and one clock");
        assert!(trace.spans.iter().all(|span| span.name.ends_with(QUEUE)));
    }
    stack.ends_well().await;
}

/// Of items whose spans have all come.
async fn whole_traces(stack: &Stack) -> Vec<Trace> {
    let begun = Instant::now();
    let expected = BTreeSet::from(WHOLE);
    loop {
        let spans = spans::parse(&stack.fetch_traces().await).unwrap();
        let mut traces = Trace::all(spans);
        let seen = traces.len();
        traces.retain(|trace| operations(trace) == expected);
        if traces.len() > 20 {
            return traces;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{} whole ones of {seen} traces",
            traces.len()
        );
        sleep(Duration::from_millis(200)).await;
    }
}
