//! A producer and a consumer whose clock is not the broker's, and who know by how much: so what the broker thinks of it
//! can be held against the truth.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use baton_proto::v1::consume_request::Request as Consumes;
use baton_proto::v1::consume_response::Response as Consumed;
use baton_proto::v1::delivery_settle::Action;
use baton_proto::v1::publish_stream_request::Request as Publishes;
use baton_proto::v1::publish_stream_response::Response as Published;
use baton_proto::v1::queue_service_client::QueueServiceClient;
use baton_proto::v1::{
    Ack, ConsumeRequest, ConsumeStart, Credit, DeliverySettle, HandlerStamps, Hello, Item,
    PublishBatch, PublishConfirm, PublishStart, PublishStreamRequest, SettleBatch,
};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

/// Nanoseconds of CLOCK_MONOTONIC: the broker's clock.
pub(crate) fn true_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// A clock that shows something else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SkewedClock {
    began: i64,
    ahead_ns: i64,
    drift_ppm: i64,
}

impl SkewedClock {
    pub(crate) fn new(ahead_ns: i64, drift_ppm: i64) -> Self {
        let began = true_ns();
        Self {
            began,
            ahead_ns,
            drift_ppm,
        }
    }

    /// What has to be added to it to get the broker's clock, when that shows `at`.
    pub(crate) fn offset_ns(&self, at: i64) -> i64 {
        -(self.ahead_ns + (at - self.began) * self.drift_ppm / 1_000_000)
    }

    fn show(&self, at: i64) -> u64 {
        (at - self.offset_ns(at)).cast_unsigned()
    }

    fn now(&self) -> u64 {
        self.show(true_ns())
    }
}

/// The shortest that a message of the broker's took, by this clock, since that was said last.
#[derive(Debug, Clone)]
struct Leg {
    clock: SkewedClock,
    least: Arc<Mutex<Option<i64>>>,
}

impl Leg {
    fn received(&self, sent_ns: u64) {
        let leg = self.clock.now().wrapping_sub(sent_ns).cast_signed();
        let mut least = self.least.lock().unwrap();
        *least = Some(least.map_or(leg, |least| least.min(leg)));
    }

    /// `sent_ns` and `down_leg_ns` of a message, in this order.
    fn stamp(&self) -> (u64, Option<i64>) {
        let sent = self.clock.now();
        (sent, self.least.lock().unwrap().take())
    }
}

/// What is known of items, by id: how long they took from being made to being received, on the broker's clock.
pub(crate) type TruePublishNs = BTreeMap<u64, i64>;

/// Streams of one client, which end with the value.
#[derive(Debug)]
pub(crate) struct Skewed {
    pub(crate) clock: SkewedClock,
    pub(crate) client_id: String,
    published: Arc<Mutex<TruePublishNs>>,
    _tasks: JoinSet<()>,
}

impl Skewed {
    /// Publishes an item every other millisecond to a queue of its own, and works it off, while `busy` says so.
    pub(crate) async fn start(
        url: String,
        client_id: &str,
        clock: SkewedClock,
        busy: watch::Receiver<bool>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        // Of one stream each.
        let new_leg = || Leg {
            clock,
            least: Arc::default(),
        };
        let published = Arc::new(Mutex::new(TruePublishNs::new()));
        let calls = QueueServiceClient::connect(url).await.unwrap();
        let who = Who {
            calls,
            client_id: client_id.to_owned(),
        };
        tasks.spawn(publish(
            who.clone(),
            new_leg(),
            busy,
            Arc::clone(&published),
        ));
        tasks.spawn(consume(who, new_leg()));
        Self {
            clock,
            client_id: client_id.to_owned(),
            published,
            _tasks: tasks,
        }
    }

    /// Of all items that were confirmed.
    pub(crate) fn true_publish_ns(&self) -> TruePublishNs {
        self.published.lock().unwrap().clone()
    }
}

#[derive(Debug, Clone)]
struct Who {
    calls: QueueServiceClient<tonic::transport::Channel>,
    /// And the queue's name.
    client_id: String,
}

impl Who {
    fn hello(&self) -> Option<Hello> {
        Some(Hello {
            client_id: self.client_id.clone(),
            service_name: self.client_id.clone(),
            // No clock: one of its own.
            ..Hello::default()
        })
    }
}

async fn publish(
    mut who: Who,
    leg: Leg,
    mut busy: watch::Receiver<bool>,
    published: Arc<Mutex<TruePublishNs>>,
) {
    let (requests, outgoing) = mpsc::channel(1);
    let start = PublishStart {
        hello: who.hello(),
        queue: who.client_id.clone(),
        producer_id: who.client_id.clone(),
    };
    requests
        .send(upstream(&leg, Publishes::Start(start)))
        .await
        .unwrap();
    let call = who.calls.publish_stream(ReceiverStream::new(outgoing));
    let mut responses = call.await.unwrap().into_inner();
    // By sequence, from 1.
    let created = Arc::new(Mutex::new(vec![0]));
    let send = async {
        loop {
            busy.wait_for(|busy| *busy).await.unwrap();
            let at = true_ns();
            let first_sequence = {
                let mut created = created.lock().unwrap();
                created.push(at);
                created.len() as u64 - 1
            };
            let item = Item {
                created_ns: leg.clock.show(at),
                ..Item::default()
            };
            let batch = PublishBatch {
                first_sequence,
                items: vec![item],
            };
            requests
                .send(upstream(&leg, Publishes::Batch(batch)))
                .await
                .unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    let receive = async {
        while let Some(response) = responses.message().await.unwrap() {
            leg.received(response.sent_ns);
            if let Some(Published::Confirms(confirms)) = response.response {
                let created = created.lock().unwrap();
                let took = confirms.confirms.iter().flat_map(|one| took(one, &created));
                published.lock().unwrap().extend(took);
            }
        }
    };
    tokio::join!(send, receive);
}

fn took<'a>(confirm: &'a PublishConfirm, created: &'a [i64]) -> impl Iterator<Item = (u64, i64)> {
    (0..u64::from(confirm.count)).map(|n| {
        let at = created[usize::try_from(confirm.first_sequence + n).unwrap()];
        (
            confirm.first_item_id + n,
            confirm.received_ns.cast_signed() - at,
        )
    })
}

fn upstream(leg: &Leg, request: Publishes) -> PublishStreamRequest {
    let (sent_ns, down_leg_ns) = leg.stamp();
    PublishStreamRequest {
        sent_ns,
        down_leg_ns,
        request: Some(request),
    }
}

async fn consume(mut who: Who, leg: Leg) {
    let (requests, outgoing) = mpsc::channel(1);
    let say = async |request| {
        let (sent_ns, down_leg_ns) = leg.stamp();
        let request = ConsumeRequest {
            sent_ns,
            down_leg_ns,
            request: Some(request),
        };
        requests.send(request).await.unwrap();
    };
    let start = ConsumeStart {
        hello: who.hello(),
        queue: who.client_id.clone(),
        credit: Some(Credit {
            items: 1_000_000,
            bytes: 0,
        }),
        ..ConsumeStart::default()
    };
    say(Consumes::Start(start)).await;
    let call = who.calls.consume(ReceiverStream::new(outgoing));
    let mut responses = call.await.unwrap().into_inner();
    let mut settle_id = 0;
    while let Some(response) = responses.message().await.unwrap() {
        leg.received(response.sent_ns);
        let Some(Consumed::Deliveries(batch)) = response.response else {
            continue;
        };
        let received_ns = leg.clock.now();
        let deliveries = batch.deliveries.iter().map(|delivery| DeliverySettle {
            first: delivery.delivery_id,
            last: delivery.delivery_id,
            action: Some(Action::Ack(Ack {})),
            stamps: vec![HandlerStamps {
                received_ns,
                started_ns: leg.clock.now(),
                ended_ns: leg.clock.now(),
            }],
        });
        settle_id += 1;
        let settle = SettleBatch {
            settle_id,
            deliveries: deliveries.collect(),
            leases: Vec::new(),
        };
        say(Consumes::Settle(settle)).await;
    }
}
