//! What the broker says of clients' clocks is true, each time it is asked, however far off they are and whatever the link
//! does; and so is what it makes of their stamps.

use std::time::Duration;

use baton_client::ClientInfo;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::delay_proxy::{Delay, DelayProxy};
use crate::item_trace::{ItemTrace, number, text};
use crate::scene::{ALL, Scene};
use crate::skewed::{Skewed, SkewedClock, true_ns};
use crate::tree::Trace;

/// Of one clock, over all phases.
const READINGS: usize = 4000;
/// Readings until traffic begins or ends.
const PHASE: usize = 500;

const AHEAD: i64 = 250_000_000;
const BEHIND: i64 = -3_000_000_000;

/// The offset is where the broker says; it changes while one asks.
fn is_true(said: &ClientInfo, clock: SkewedClock, asked: (i64, i64)) -> Result<(), String> {
    let Some(offset) = said.clock_offset_ns else {
        return Ok(());
    };
    let error = i64::try_from(said.clock_error_ns).unwrap();
    let (first, last) = (clock.offset_ns(asked.0), clock.offset_ns(asked.1));
    let (low, high) = (first.min(last), first.max(last));
    let wrong = low - (offset + error);
    let wrong = wrong.max(offset - error - high);
    if wrong <= 0 && !said.same_clock {
        return Ok(());
    }
    Err(format!("{low}..{high} is {wrong} ns outside of {said:?}"))
}

/// Asks again and again, in turns of traffic and silence.
async fn watch_clocks(scene: &Scene, clients: &[Skewed], busy: &watch::Sender<bool>) {
    let client = scene.broker.client();
    for count in 0..READINGS {
        let is_busy = (count / PHASE).is_multiple_of(2);
        busy.send_replace(is_busy);
        if !is_busy {
            // So that a silence is long enough for a clock to drift further than a bound is wide.
            sleep(Duration::from_millis(3)).await;
        }
        let before = true_ns();
        let info = client.server_info().await.unwrap();
        let asked = (before, true_ns());
        for said in &info.clients {
            let known = clients.iter().find(|one| one.client_id == said.client_id);
            let clock = known.expect("one of ours").clock;
            let judged = is_true(said, clock, asked);
            assert_eq!(judged, Ok(()), "reading {count}");
        }
    }
    let info = client.server_info().await.unwrap();
    assert_eq!(info.clients.len(), 2 * clients.len());
    assert!(info.clients.iter().all(|one| one.clock_offset_ns.is_some()));
}

/// No publish took longer or shorter than the item's trace says, but for the error that it states.
fn check_stamps(client: &Skewed, traces: &[Trace]) {
    let truth = client.true_publish_ns();
    let items = traces.iter().map(ItemTrace::only);
    let own =
        items.filter(|item| text(item.item, "messaging.destination.name") == client.client_id);
    let mut count = 0;
    for item in own {
        item.check();
        // The first ones are made before anything is known of the clock: then nothing is said of that time.
        let known = !item.of("create").is_empty();
        let Some(&took) = truth.get(&item.id()).filter(|_| known) else {
            continue;
        };
        count += 1;
        let error_ms = number(item.item, "messaging.baton.clock.error_us") / 1e3;
        let wrong_ms = (item.stage_ms("publish") - took as f64 / 1e6).abs();
        assert!(
            wrong_ms <= error_ms,
            "{wrong_ms} of {took} ns: {:#?}",
            item.item
        );
    }
    assert!(2 * count > truth.len(), "{count} of {} items", truth.len());
}

#[tokio::test]
async fn a_foreign_clock_is_never_where_the_broker_rules_it_out() {
    let scene = Scene::with(&ALL).await;
    let (busy, is_busy) = watch::channel(false);
    let address = format!("127.0.0.1:{}", scene.broker.port());
    let [up, down] = [20, 2].map(|fixed| Delay::fixed(fixed).and_up_to(3));
    let far = DelayProxy::start(address, up, down).await;
    let start = |url: String, id: &'static str, ahead_ns, drift_ppm| {
        let clock = SkewedClock::new(ahead_ns, drift_ppm);
        Skewed::start(url, id, clock, is_busy.clone())
    };
    let clients = [
        start(scene.broker.url(), "near-ahead", AHEAD, 95).await,
        start(scene.broker.url(), "near-behind", BEHIND, -95).await,
        start(far.url(), "far-ahead", AHEAD, 20).await,
        start(far.url(), "far-behind", BEHIND, 0).await,
    ];
    watch_clocks(&scene, &clients, &busy).await;
    busy.send_replace(false);
    let items: usize = clients
        .iter()
        .map(|client| client.true_publish_ns().len())
        .sum();
    let traces = scene.traces(items, 7 * items).await;
    for client in &clients {
        check_stamps(client, &traces);
    }
}

#[tokio::test]
async fn who_reads_the_brokers_clock_is_not_guessed_at() {
    let scene = Scene::with(&ALL).await;
    let address = format!("127.0.0.1:{}", scene.broker.port());
    let [up, down] = [20, 2].map(|fixed| Delay::fixed(fixed).and_up_to(3));
    let far = DelayProxy::start(address, up, down).await;
    let programs = crate::programs::Programs::exporting_to(scene.agent.url());
    let consumer = programs.consumer(&far.url(), &["jobs", "print", "--raw"]);
    let producer = programs.producer(
        &far.url(),
        &["jobs", "generate", "--rate", "200", "--count", "200"],
    );
    let client = scene.broker.client();
    let mut seen = 0;
    while seen < 200 {
        let info = client.server_info().await.unwrap();
        for one in &info.clients {
            let clock = (one.same_clock, one.clock_offset_ns, one.clock_error_ns);
            assert_eq!(clock, (true, Some(0), 0));
            seen += 1;
        }
    }
    producer.finish().await.ok();
    client.queue("jobs").close().await.unwrap();
    consumer.finish().await.ok();
    let traces = scene.traces(200, 8 * 200).await;
    for trace in &traces {
        let item = ItemTrace::only(trace);
        item.check();
        assert_eq!(number(item.item, "messaging.baton.clock.error_us"), 0.0);
        // Stamped on both ends of a leg by one clock.
        assert!(item.stage_ms("publish") >= 20.0 && item.stage_ms("deliver") >= 2.0);
    }
}
