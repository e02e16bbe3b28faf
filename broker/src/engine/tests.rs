//! The commit seam: nothing is said before it is durable, whatever the target's pace. A gate stands in for a journal.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use baton_ledger::party::Party;
use baton_proto::v1::Durability;
use baton_queue::{Event, ItemId, NewItem, SessionId};
use futures_util::{FutureExt as _, StreamExt as _, poll};
use tokio::sync::watch;
use tokio::time::timeout;

use super::commit::{Commit, CommitPosition, CommitProgress, CommitTarget};
use super::*;

/// Keeps commits until it is told that they are durable.
#[derive(Clone)]
struct Gate {
    progress: watch::Sender<CommitProgress>,
    submitted: Arc<Mutex<Vec<Commit>>>,
}

impl Gate {
    fn closed() -> Self {
        let start = CommitProgress::Durable(CommitPosition::default());
        Self {
            progress: watch::Sender::new(start),
            submitted: Arc::default(),
        }
    }

    fn open(&self) {
        let all = CommitPosition(u64::MAX);
        self.progress.send_replace(CommitProgress::Durable(all));
    }

    fn fail(&self) {
        self.progress.send_replace(CommitProgress::Failed);
    }

    /// Waits until an event of this kind was submitted.
    async fn saw(&self, kind: impl Fn(&Event) -> bool) {
        let look = async {
            while !self
                .submitted
                .lock()
                .unwrap()
                .iter()
                .flat_map(|commit| &commit.events)
                .any(&kind)
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), look)
            .await
            .expect("no such event");
    }
}

impl CommitTarget for Gate {
    fn submit(&mut self, commit: Commit) -> Option<Vec<Event>> {
        let mut submitted = self.submitted.lock().unwrap();
        assert_eq!(
            commit.position.0,
            submitted.len() as u64 + 1,
            "commits come in order"
        );
        submitted.push(commit);
        None
    }

    fn progress(&self) -> watch::Receiver<CommitProgress> {
        self.progress.subscribe()
    }

    fn durability(&self) -> Durability {
        Durability::Fsynced
    }
}

fn gated() -> (Engine, QueueHandle, Gate) {
    let gate = Gate::closed();
    let keep = Keep::Memory { bytes_max: 1 << 20 };
    let engine = Engine::open(EngineSettings {
        auto_create: true,
        keep,
        accounting: None,
    });
    let engine = engine.unwrap();
    let queue = engine.start(
        &"q".parse().unwrap(),
        Queue::new(Config::default()),
        Store::behind(Box::new(gate.clone())),
    );
    (engine, queue, gate)
}

fn one_item(reply: PublishReply) -> Publish {
    let item = NewItem {
        size: 4,
        ..NewItem::default()
    };
    Publish {
        producer: None,
        items: vec![item],
        bodies: vec!["body".into()],
        sending: Sending::default(),
        reply,
    }
}

fn attach(
    outbox: Outbox,
    reply: tokio::sync::oneshot::Sender<Result<(SessionId, Duration), Error>>,
) -> Attach {
    Attach {
        consumer: Arc::new(Party::named("c")),
        lease_duration: None,
        grace: Duration::ZERO,
        until_drained: false,
        items: 10,
        bytes: 0,
        outbox,
        reply,
    }
}

fn ack(session: SessionId) -> impl FnOnce(SettleReply) -> Settle {
    move |reply| Settle {
        session,
        deliveries: vec![SettledDeliveries {
            first: 1,
            last: 1,
            action: Action::Ack,
            stamps: vec![],
        }],
        leases: vec![],
        received: Timestamp(0),
        clock: None,
        reply,
    }
}

fn published(event: &Event) -> bool {
    matches!(event, Event::Published(_))
}

#[tokio::test]
async fn a_publish_is_confirmed_when_its_commit_is_durable_and_not_before() {
    let (_engine, queue, gate) = gated();
    let mut publish = std::pin::pin!(queue.publish(one_item));
    assert!(poll!(&mut publish).is_pending());
    gate.saw(published).await;
    assert!(poll!(&mut publish).is_pending(), "submitted, not durable");
    gate.open();
    let stored = publish.await.unwrap();
    assert_eq!(stored.durability, Durability::Fsynced);
    assert_eq!(stored.runs[0].first, Some(ItemId(1)));
}

#[tokio::test]
async fn an_item_is_delivered_when_its_publish_is_durable_and_not_before() {
    let (_engine, queue, gate) = gated();
    let (outbox, _answers, mut deliveries) = queue.outbox();
    queue.attach(|reply| attach(outbox, reply)).await.unwrap();
    let mut publish = std::pin::pin!(queue.publish(one_item));
    assert!(poll!(&mut publish).is_pending());
    gate.saw(|event| matches!(event, Event::Leased(_))).await;
    assert!(
        deliveries.next().now_or_never().is_none(),
        "leased, not durable"
    );
    gate.open();
    publish.await.unwrap();
    let Some(ConsumeOutput::Deliveries(batch)) = deliveries.next().await else {
        panic!("no delivery");
    };
    assert_eq!(batch[0].body, "body");
}

#[tokio::test]
async fn a_settle_is_answered_when_it_is_durable_and_not_before() {
    let (_engine, queue, gate) = gated();
    gate.open();
    let (outbox, _answers, mut deliveries) = queue.outbox();
    let (session, _) = queue.attach(|reply| attach(outbox, reply)).await.unwrap();
    queue.publish(one_item).await.unwrap();
    deliveries.next().await.unwrap();
    let durable = CommitPosition(gate.submitted.lock().unwrap().len() as u64);
    gate.progress.send_replace(CommitProgress::Durable(durable));
    let mut settle = std::pin::pin!(queue.settle(ack(session)));
    assert!(poll!(&mut settle).is_pending());
    gate.saw(|event| matches!(event, Event::Acked { .. })).await;
    assert!(poll!(&mut settle).is_pending(), "submitted, not durable");
    gate.open();
    assert_eq!(
        settle.await.unwrap().deliveries[0].outcome,
        baton_queue::Outcome::Ok
    );
}

#[tokio::test]
async fn a_consumer_that_left_with_credit_does_not_hold_up_the_queue() {
    let (_engine, queue, gate) = gated();
    gate.open();
    let (outbox, _answers, reader) = queue.outbox();
    queue.attach(|reply| attach(outbox, reply)).await.unwrap();
    drop(reader);
    queue.publish(one_item).await.unwrap();
    let look = async { while queue.act(|view| view.demand.consumers).await.unwrap() > 0 {} };
    timeout(Duration::from_secs(20), look)
        .await
        .expect("it is forgotten");
    assert_eq!(queue.act(|view| view.queue.ready_items()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_long_poll_outwaits_an_item_that_expires_before_it_is_handed_out() {
    let (_engine, queue, gate) = gated();
    gate.open();
    let lease = |reply| Lease {
        consumer: Arc::new(Party::named("c")),
        items: 1,
        bytes: 1000,
        lease_duration: None,
        until: Timestamp(u64::MAX),
        reply,
    };
    let mut poll = std::pin::pin!(queue.lease(lease));
    assert!(poll!(&mut poll).is_pending());
    let expired = |reply| {
        let mut publish = one_item(reply);
        publish.items[0].expires_at = Some(Timestamp(1));
        publish
    };
    queue.publish(expired).await.unwrap();
    assert!(poll!(&mut poll).is_pending(), "answered with nothing");
    queue.publish(one_item).await.unwrap();
    assert_eq!(poll.await.unwrap()[0].item, ItemId(2));
}

#[tokio::test]
async fn deliveries_that_a_consumer_never_took_cost_no_attempt() {
    let (_engine, queue, gate) = gated();
    gate.open();
    let (outbox, _answers, reader) = queue.outbox();
    queue.attach(|reply| attach(outbox, reply)).await.unwrap();
    queue.publish(one_item).await.unwrap();
    queue.publish(one_item).await.unwrap();
    let leased = |view: &mut View<'_>| view.queue.stats(view.now).leased;
    assert_eq!(queue.act(leased).await.unwrap(), 2);
    drop(reader);
    let look = async { while queue.act(|view| view.queue.ready_items()).await.unwrap() < 2 {} };
    timeout(Duration::from_secs(20), look)
        .await
        .expect("they come back");
    let stats = queue.act(|view| view.queue.stats(view.now)).await.unwrap();
    assert_eq!((stats.leased, stats.failed_attempts_total), (0, 0));
}

#[tokio::test]
async fn a_batch_that_waits_for_room_goes_with_its_stream() {
    let (_engine, queue, gate) = gated();
    gate.open();
    let full = |view: &mut View<'_>| {
        let config = Config {
            max_items: Some(1),
            ..Config::default()
        };
        view.queue.set_config(view.now, config, view.events);
    };
    queue.act(full).await.unwrap();
    queue.publish(one_item).await.unwrap();
    let (front, _front_reader) = stream_batch(&queue).await;
    let (behind, behind_reader) = stream_batch(&queue).await;
    drop(behind_reader);
    let look = async {
        while Arc::strong_count(&behind) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(20), look)
        .await
        .expect("it is let go");
    assert_eq!(
        Arc::strong_count(&front),
        2,
        "the one before it still waits"
    );
}

/// Publishes one item on a stream of its own.
async fn stream_batch(queue: &QueueHandle) -> (Arc<StreamBatch>, mpsc::Receiver<PublishOutput>) {
    let window = Arc::new(tokio::sync::Semaphore::new(1));
    let batch = Arc::new(StreamBatch {
        first_sequence: 1,
        count: 1,
        refused: vec![],
        received_ns: 0,
        window: window.try_acquire_owned().unwrap(),
    });
    let (outbox, reader) = mpsc::channel(4);
    let permit = outbox.clone().reserve_owned().await.unwrap();
    let reply = PublishReply::Stream {
        outbox,
        permit,
        batch: batch.clone(),
    };
    queue.publish_streamed(one_item(reply)).await.unwrap();
    (batch, reader)
}

#[tokio::test]
async fn after_a_failed_commit_everything_that_waits_has_an_unknown_outcome() {
    let (engine, queue, gate) = gated();
    let mut publish = std::pin::pin!(queue.publish(one_item));
    let mut stats = std::pin::pin!(queue.act(|view| view.queue.is_empty()));
    assert!(poll!(&mut publish).is_pending());
    assert!(poll!(&mut stats).is_pending());
    gate.saw(published).await;
    gate.fail();
    assert_eq!(publish.await.unwrap_err(), Error::OutcomeUnknown);
    assert_eq!(stats.await.unwrap_err(), Error::OutcomeUnknown);
    engine.stop().await;
    assert!(queue.publish(one_item).await.is_err());
}

#[tokio::test]
async fn a_caller_that_left_before_its_lease_was_durable_leaves_the_item_untouched() {
    let (_engine, queue, gate) = gated();
    let until = Timestamp(u64::MAX);
    let lease = |reply| Lease {
        consumer: Arc::new(Party::named("c")),
        items: 1,
        bytes: 1000,
        lease_duration: None,
        until,
        reply,
    };
    let mut publish = std::pin::pin!(queue.publish(one_item));
    assert!(poll!(&mut publish).is_pending());
    {
        let mut gone = std::pin::pin!(queue.lease(lease));
        assert!(poll!(&mut gone).is_pending());
        gate.saw(|event| matches!(event, Event::Leased(_))).await;
    }
    gate.open();
    publish.await.unwrap();
    let again = queue.lease(lease).await.unwrap();
    assert_eq!(
        (again[0].item, again[0].attempt),
        (ItemId(1), 1),
        "the attempt does not count"
    );
}
