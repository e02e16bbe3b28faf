//! Traces go on through the programs: from whoever started a producer to the command that a consumer runs.

use baton_client::ItemState;

use crate::item_trace::{ItemTrace, is_synthesized};
use crate::scene::{ALL, NO_LIMIT, Scene};
use crate::tree::Trace;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const SAY: &str = r#"echo "$TRACEPARENT ${TRACESTATE-none}""#;

/// A producer that runs within somebody's span; what its item's command is told.
async fn told(scene: &Scene, flags: &str) -> String {
    let parent = format!("00-{TRACE}-{PARENT}-{flags}");
    let variables = [
        ("TRACEPARENT", parent.as_str()),
        ("TRACESTATE", "congo=t61"),
    ];
    scene.send_in(&variables, ("jobs", &[]), "bread\n").await;
    let said = scene.work_off("jobs", SAY).await;
    said[0].clone()
}

async fn item_of(scene: &Scene, spans: usize) -> Trace {
    let mut traces = scene.traces(1, spans).await;
    assert_eq!(traces.len(), 1, "{traces:#?}");
    traces.remove(0)
}

#[tokio::test]
async fn a_trace_goes_from_the_producers_surroundings_to_the_command() {
    let scene = Scene::with(&NO_LIMIT).await;
    let told = told(&scene, "01").await;
    let trace = item_of(&scene, 8).await;
    let item = ItemTrace::only(&trace);
    item.check();
    assert_eq!(
        (trace.id.as_str(), item.item.parent.as_deref()),
        (TRACE, Some(PARENT))
    );
    assert_eq!(
        item.shape(),
        "create store queue deliver(process ack) settle"
    );
    let process = item.find("process");
    // Our member is about the item and not for whoever comes next.
    assert_eq!(told, format!("00-{TRACE}-{}-01 congo=t61", process.span_id));
}

#[tokio::test]
async fn what_is_not_sampled_goes_on_too_and_fits_if_the_broker_keeps_it() {
    let scene = Scene::with(&ALL).await;
    let told = told(&scene, "00").await;
    let trace = item_of(&scene, 8).await;
    let item = ItemTrace::only(&trace);
    item.check();
    assert_eq!((trace.id.as_str(), &item.item.parent), (TRACE, &None));
    let process = item.find("process");
    assert!(is_synthesized(process));
    assert_eq!(told, format!("00-{TRACE}-{}-00 congo=t61", process.span_id));
}

#[tokio::test]
async fn an_item_says_below_what_it_was_made() {
    let scene = Scene::with(&NO_LIMIT).await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let variables = [
        ("TRACEPARENT", parent.as_str()),
        ("TRACESTATE", "congo=t61"),
    ];
    scene.send_in(&variables, ("jobs", &[]), "bread\n").await;
    let queue = scene.broker.client().queue("jobs");
    let stored = queue.peek(ItemState::Ready, 1, 0).await.unwrap();
    let stored = stored[0].item.clone().unwrap();
    let (ours, others) = stored.tracestate.split_once(',').unwrap();
    assert_eq!(others, "congo=t61");
    let member = ours.strip_prefix("baton=").unwrap();
    assert_eq!(
        member.split_once('-').map(|(_, parent)| parent),
        Some(PARENT)
    );
    scene.work_off("jobs", "true").await;
    let trace = item_of(&scene, 8).await;
    let item = ItemTrace::only(&trace);
    assert!(member.starts_with(&item.item.span_id));
}
