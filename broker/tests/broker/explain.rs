//! Where an item's time went, as GetItem, GetLatency and ListSlowItems tell it.

use baton_proto::v1::*;
use baton_telemetry::clock::{ClockDomain as Domain, WallClock, monotonic_ns};
use prost_types::Duration;

use crate::publisher::Publisher;
use crate::support::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

impl Fixture {
    pub(crate) async fn explain(&mut self, queue: &str, item_id: u64) -> Explanation {
        let queue = queue.into();
        let request = GetItemRequest { queue, item_id };
        let answer = self.admin.get_item(request).await.unwrap().into_inner();
        answer.explanation.unwrap()
    }

    async fn latency(&mut self, queue: &str) -> GetLatencyResponse {
        let request = GetLatencyRequest {
            queue: queue.into(),
            window: None,
        };
        self.admin.get_latency(request).await.unwrap().into_inner()
    }
}

/// A client on this machine: its clock is the broker's.
fn neighbour(client_id: &str) -> Option<Hello> {
    let here = Domain::current();
    Some(Hello {
        client_id: client_id.into(),
        clock: Some(ClockDomain {
            boot_id: here.boot_id,
            time_namespace: here.time_namespace,
        }),
        ..Hello::default()
    })
}

fn traced(payload: &str) -> Item {
    Item {
        created_ns: monotonic_ns(),
        traceparent: format!("00-{TRACE}-b7ad6b7169203331-01"),
        ..item(payload)
    }
}

fn ns(duration: Option<&Duration>) -> u64 {
    duration.map_or(0, |duration| {
        u64::try_from(duration.seconds * 1_000_000_000 + i64::from(duration.nanos)).unwrap()
    })
}

fn names(explanation: &Explanation) -> Vec<(&'static str, u32)> {
    let stages = explanation.stages.iter();
    stages
        .map(|stage| (stage.stage().as_str_name(), stage.attempt))
        .collect()
}

/// Each stage begins where the one before ended, the first at 0 and the last at the total.
fn assert_whole(explanation: &Explanation) {
    let mut end = 0;
    for stage in &explanation.stages {
        assert_eq!(ns(stage.start.as_ref()), end, "{explanation:#?}");
        end += ns(stage.duration.as_ref());
    }
    assert_eq!(end, ns(explanation.total.as_ref()), "{explanation:#?}");
}

/// Publishes one item and processes it in two attempts: the first one fails.
async fn tried_twice(fixture: &mut Fixture) {
    let mut publisher = Publisher::open_as(fixture, "q", neighbour("maker")).await;
    publisher.publish(1, vec![traced("a")]).await;
    publisher.confirmed().await;
    let mut begin = start("q", 10);
    begin.hello = neighbour("worker");
    let mut consumer = fixture.consume(begin).await;
    consumer.take(1).await;
    let stamps = async || {
        let received_ns = monotonic_ns();
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let started_ns = monotonic_ns();
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        HandlerStamps {
            received_ns,
            started_ns,
            ended_ns: monotonic_ns(),
        }
    };
    let failed = delivery_settle::Action::Nack(Nack {
        error: "no luck".into(),
        delay: millis(30),
        ..Nack::default()
    });
    consumer.settle_stamped(1, failed, stamps().await).await;
    consumer.take(1).await;
    consumer
        .settle_stamped(2, delivery_settle::Action::Ack(Ack {}), stamps().await)
        .await;
}

#[tokio::test]
async fn an_item_that_ended_still_tells_where_its_time_went() {
    let mut fixture = broker().await;
    tried_twice(&mut fixture).await;
    let explained = fixture.explain("q", 1).await;
    assert_eq!(explained.state(), ItemState::Done);
    assert_eq!(explained.outcome(), ItemOutcome::Acked);
    assert_eq!(explained.trace_id, TRACE);
    assert_eq!(explained.attempts, 2);
    assert_whole(&explained);
    let of_an_attempt = |attempt| {
        ["DELIVER", "PREFETCH", "PROCESS", "SETTLE"].map(|name| (format!("STAGE_{name}"), attempt))
    };
    let named: Vec<_> = names(&explained)
        .iter()
        .map(|(name, attempt)| ((*name).to_owned(), *attempt))
        .collect();
    for expected in of_an_attempt(1).iter().chain(&of_an_attempt(2)) {
        assert!(named.contains(expected), "{expected:?} of {named:?}");
    }
    assert!(
        named.contains(&("STAGE_SCHEDULED".to_owned(), 2)),
        "{named:?}"
    );
    let process: Vec<_> = explained
        .stages
        .iter()
        .filter(|stage| stage.stage() == Stage::Process)
        .collect();
    assert!(
        process
            .iter()
            .all(|stage| ns(stage.duration.as_ref()) >= 10_000_000)
    );
    assert!(
        explained.stages.iter().all(|stage| stage.error.is_none()),
        "one clock is exact"
    );
    let deliveries: Vec<_> = explained
        .deliveries
        .iter()
        .map(|attempt| {
            (
                attempt.attempt,
                attempt.consumer.as_str(),
                attempt.outcome(),
                attempt.error.as_str(),
            )
        })
        .collect();
    let failed = (1, "worker", ItemOutcome::Failed, "no luck");
    assert_eq!(deliveries, [failed, (2, "worker", ItemOutcome::Acked, "")]);
    for said in [
        TRACE,
        "acknowledged by worker",
        "no luck",
        "process",
        "scheduled",
    ] {
        assert!(
            explained.text.contains(said),
            "{said} is not in\n{}",
            explained.text
        );
    }
}

#[tokio::test]
async fn a_waiting_item_tells_what_it_waits_for_and_how_long_so_far() {
    let mut fixture = broker().await;
    fixture.publish("q", vec![traced("a")]).await.unwrap();
    let explained = fixture.explain("q", 1).await;
    assert_whole(&explained);
    let last = explained.stages.last().unwrap();
    assert_eq!(
        (last.stage(), last.attempt, last.running),
        (Stage::Queue, 1, true)
    );
    assert_eq!(explained.outcome(), ItemOutcome::Unspecified);
    assert_eq!(explained.trace_id, TRACE);
    assert!(
        explained.verdict.contains("nobody") || explained.verdict.contains("no consumer"),
        "{}",
        explained.verdict
    );
    let later = fixture.explain("q", 1).await;
    assert!(ns(later.total.as_ref()) > ns(explained.total.as_ref()));
}

#[tokio::test]
async fn every_item_counts_in_its_queues_latency() {
    let mut fixture = broker().await;
    tried_twice(&mut fixture).await;
    let latency = fixture.latency("q").await;
    let counts: Vec<_> = latency
        .stages
        .iter()
        .map(|stage| (stage.stage(), stage.count))
        .collect();
    let of = |stage| {
        counts
            .iter()
            .find(|(found, _)| *found == stage)
            .map(|(_, count)| *count)
    };
    for (stage, count) in [
        (Stage::Publish, 1),
        (Stage::Store, 1),
        (Stage::Scheduled, 1),
        (Stage::Queue, 2),
        (Stage::Deliver, 2),
        (Stage::Process, 2),
        (Stage::Settle, 2),
        (Stage::Total, 1),
    ] {
        assert_eq!(of(stage), Some(count), "{stage:?} of {counts:?}");
    }
    let process = latency
        .stages
        .iter()
        .find(|stage| stage.stage() == Stage::Process)
        .unwrap();
    assert!(ns(process.p50.as_ref()) >= 10_000_000 && process.error.is_none());
    assert!(latency.verdict.contains('%'), "{}", latency.verdict);
    assert!(ns(latency.window.as_ref()) >= 60_000_000_000);
}

#[tokio::test]
async fn the_slowest_items_are_found_by_stage() {
    let mut fixture = broker().await;
    tried_twice(&mut fixture).await;
    let request = ListSlowItemsRequest {
        queue: "q".into(),
        stage: Stage::Process.into(),
        ..ListSlowItemsRequest::default()
    };
    let found = fixture
        .admin
        .list_slow_items(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.items.len(), 1);
    let slow = &found.items[0];
    assert!(ns(slow.duration.as_ref()) >= 20_000_000, "both attempts");
    let explained = slow.explanation.as_ref().unwrap();
    assert_eq!((explained.item_id, explained.text.as_str()), (1, ""));
    assert_whole(explained);
}

#[tokio::test]
async fn nobody_pays_for_what_nobody_wants_to_know() {
    let mut fixture = broker_with(|config| config.latency_budget = 0).await;
    tried_twice(&mut fixture).await;
    assert_eq!(fixture.latency("q").await.stages, []);
    let explained = fixture.explain("q", 1).await;
    assert_eq!(
        (explained.state(), explained.stages.len()),
        (ItemState::Done, 0)
    );
}

#[tokio::test]
async fn streams_begin_with_what_the_brokers_stamps_are_on_its_wall_clock() {
    let mut fixture = broker().await;
    let mut producer = Publisher::open(&mut fixture, "q", "p").await;
    let publish_stream_response::Response::Started(started) = producer.next().await else {
        panic!("it begins with its start");
    };
    let shift_ns = started.wall_shift_ns.unwrap();
    let now_ns = monotonic_ns().wrapping_add(shift_ns);
    let off_ns = WallClock::new().now_ns().abs_diff(now_ns);
    assert!(off_ns < 60_000_000_000, "{off_ns}");
}

#[tokio::test]
async fn clients_are_shown_with_their_clocks() {
    let mut fixture = broker().await;
    let _here = Publisher::open_as(&mut fixture, "q", neighbour("maker")).await;
    let mut far = fixture.consume(start("q", 1)).await;
    let info = |fixture: &Fixture| {
        let mut admin = fixture.admin.clone();
        async move {
            admin
                .get_server_info(GetServerInfoRequest {})
                .await
                .unwrap()
                .into_inner()
        }
    };
    let before = info(&fixture).await;
    let clocks: Vec<_> = before
        .clients
        .iter()
        .map(|client| {
            (
                client.client_id.as_str(),
                client.role(),
                client.same_clock,
                client.clock_offset_ns,
            )
        })
        .collect();
    let expected = [
        ("maker", ClientRole::Producer, true, Some(0)),
        ("test", ClientRole::Consumer, false, None),
    ];
    assert_eq!(clocks, expected);
    // It reads a clock that is an hour ahead, and says so in what it sends. Behind, there may have been no hour yet.
    const HOUR: u64 = 3_600_000_000_000;
    far.ping_from(|| monotonic_ns() + HOUR).await;
    let after = info(&fixture).await;
    let far = &after.clients[1];
    let off = far.clock_offset_ns.unwrap().abs_diff(-HOUR.cast_signed());
    assert!(
        off <= far.clock_error_ns,
        "{off} ns off, said ± {}",
        far.clock_error_ns
    );
}

#[tokio::test]
async fn an_item_that_is_gone_says_how_it_went() {
    let mut fixture = broker().await;
    let stale = Item {
        ttl: Some(Duration {
            seconds: 0,
            nanos: 1,
        }),
        ..traced("stale")
    };
    let items = vec![traced("a"), traced("b"), stale];
    fixture.publish("q", items).await.unwrap();
    let delivery = fixture.lease("q", 1).await.remove(0);
    assert_eq!(delivery.item_id, 1);
    let hopeless = lease_settle::Action::Nack(Nack {
        dead_letter: true,
        ..Nack::default()
    });
    fixture.settle("q", &delivery, hopeless).await;
    let dead = fixture.explain("q", 1).await;
    assert_eq!(dead.outcome(), ItemOutcome::Dead);
    let discard = DiscardItemsRequest {
        queue: "q".into(),
        item_ids: vec![1],
    };
    fixture.admin.discard_items(discard).await.unwrap();
    let cancel = CancelItemsRequest {
        queue: "q".into(),
        item_ids: vec![2],
    };
    fixture.admin.cancel_items(cancel).await.unwrap();
    let ends = [
        (1, ItemOutcome::Discarded, "and discarded since"),
        (2, ItemOutcome::Cancelled, "was cancelled or purged"),
        (3, ItemOutcome::Expired, "expired"),
    ];
    for (item, outcome, words) in ends {
        let explained = fixture.explain("q", item).await;
        assert_eq!(explained.state(), ItemState::Done, "{explained:?}");
        assert_eq!(explained.outcome(), outcome);
        assert!(explained.summary.contains(words), "{}", explained.summary);
        assert!(
            !explained.summary.contains("redrive"),
            "{}",
            explained.summary
        );
        assert_eq!(explained.trace_id, TRACE);
        assert_whole(&explained);
    }
}
