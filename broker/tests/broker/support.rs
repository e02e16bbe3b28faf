//! A broker of its own for each test, and the shortest way to say things to it.

use std::time::Duration;

use baton_broker::engine::{Keep, StorageSettings};
use baton_broker::{Broker, Config, Running};
use baton_proto::v1::admin_service_client::AdminServiceClient;
use baton_proto::v1::consume_request::Request as Sent;
use baton_proto::v1::consume_response::Response as Answer;
use baton_proto::v1::lease_settle::Action;
use baton_proto::v1::queue_service_client::QueueServiceClient;
use baton_proto::v1::*;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

/// Longer than anything here takes on a busy machine; nothing waits for it when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Fixture {
    pub(crate) broker: Running,
    /// Of the data, as long as the test runs.
    pub(crate) _directory: Option<tempfile::TempDir>,
    pub(crate) queues: QueueServiceClient<Channel>,
    pub(crate) admin: AdminServiceClient<Channel>,
}

pub(crate) async fn broker() -> Fixture {
    broker_with(|_| {}).await
}

pub(crate) async fn broker_with(change: impl FnOnce(&mut Config)) -> Fixture {
    let mut config = Config::default();
    config.listen.set_port(0);
    config.http.set_port(0);
    let (keep, directory) = keep();
    config.keep = keep;
    change(&mut config);
    let broker = Broker::start(config).await.unwrap();
    let channel = connect(&broker).await;
    let queues = QueueServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20);
    Fixture {
        broker,
        _directory: directory,
        queues,
        admin: AdminServiceClient::new(channel),
    }
}

/// All tests hold for both engines: `BATON_TEST_ENGINE=memory` runs them without a disk.
fn keep() -> (Keep, Option<tempfile::TempDir>) {
    if durability() == Durability::Memory {
        return (Keep::Memory { bytes_max: 1 << 30 }, None);
    }
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let storage = StorageSettings {
        directory: directory.path().to_owned(),
        segment_bytes: 8 << 20,
        memory_bytes_max: 64 << 20,
    };
    (Keep::Journal(storage), Some(directory))
}

/// What a reply has to state.
pub(crate) fn durability() -> Durability {
    match std::env::var("BATON_TEST_ENGINE").as_deref() {
        Ok("memory") => Durability::Memory,
        Err(_) => Durability::Fsynced,
        Ok(other) => panic!("BATON_TEST_ENGINE is {other}, not memory"),
    }
}

pub(crate) async fn connect(broker: &Running) -> Channel {
    Channel::from_shared(format!("http://{}", broker.grpc))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

pub(crate) fn item(payload: impl Into<Vec<u8>>) -> Item {
    Item {
        payload: payload.into().into(),
        ..Item::default()
    }
}

pub(crate) fn items(count: usize) -> Vec<Item> {
    (0..count).map(|n| item(n.to_string())).collect()
}

pub(crate) fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

pub(crate) fn millis(millis: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration {
        seconds: 0,
        nanos: millis * 1_000_000,
    })
}

pub(crate) fn hello() -> Option<Hello> {
    Some(Hello {
        client_id: "test".into(),
        ..Hello::default()
    })
}

impl Fixture {
    pub(crate) async fn publish(
        &mut self,
        queue: &str,
        items: Vec<Item>,
    ) -> Result<PublishResponse, Status> {
        let request = PublishRequest {
            queue: queue.into(),
            items,
            ..PublishRequest::default()
        };
        Ok(self.queues.publish(request).await?.into_inner())
    }

    pub(crate) async fn lease(&mut self, queue: &str, max_items: i32) -> Vec<Delivery> {
        let request = LeaseRequest {
            queue: queue.into(),
            max_items,
            wait: seconds(10),
            consumer: "test".into(),
            ..LeaseRequest::default()
        };
        self.queues.lease(request).await.unwrap().into_inner().items
    }

    pub(crate) async fn settle(
        &mut self,
        queue: &str,
        delivery: &Delivery,
        action: Action,
    ) -> SettleOutcome {
        let settle = LeaseSettle {
            lease: delivery.lease.clone(),
            action: Some(action),
            stamps: None,
        };
        let request = SettleRequest {
            queue: queue.into(),
            settles: vec![settle],
        };
        self.queues
            .settle(request)
            .await
            .unwrap()
            .into_inner()
            .outcomes()
            .next()
            .unwrap()
    }

    pub(crate) async fn stats(&mut self, queue: &str) -> QueueStats {
        let request = GetQueueRequest { name: queue.into() };
        let queue = self
            .admin
            .get_queue(request)
            .await
            .unwrap()
            .into_inner()
            .queue
            .unwrap();
        queue.stats.unwrap()
    }

    /// Asks until the queue is as it should be.
    pub(crate) async fn stats_when(
        &mut self,
        queue: &str,
        holds: impl Fn(&QueueStats) -> bool,
    ) -> QueueStats {
        let ask = async {
            loop {
                let stats = self.stats(queue).await;
                if holds(&stats) {
                    return stats;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, ask)
            .await
            .expect("the queue never got there")
    }

    pub(crate) async fn consume(&mut self, start: ConsumeStart) -> Consumer {
        let mut consumer = self.open_consume().await;
        consumer.send(Sent::Start(start)).await;
        consumer.open(self).await.unwrap();
        consumer
    }

    async fn open_consume(&mut self) -> Consumer {
        let (sender, receiver) = mpsc::channel(1000);
        Consumer {
            sender,
            unopened: Some(receiver),
            answers: None,
        }
    }

    /// A stream that sends these messages and nothing else yet.
    pub(crate) async fn consume_raw(
        &mut self,
        messages: Vec<ConsumeRequest>,
    ) -> Result<Consumer, Status> {
        let mut consumer = self.open_consume().await;
        for message in messages {
            consumer.sender.send(message).await.unwrap();
        }
        consumer.open(self).await?;
        Ok(consumer)
    }

    pub(crate) async fn update(&mut self, queue: &str, config: QueueConfig, field: &str) {
        let queue = Queue {
            name: queue.into(),
            config: Some(config),
            ..Queue::default()
        };
        let mask = prost_types::FieldMask {
            paths: vec![field.into()],
        };
        let request = UpdateQueueRequest {
            queue: Some(queue),
            update_mask: Some(mask),
        };
        self.admin.update_queue(request).await.unwrap();
    }

    pub(crate) async fn create(
        &mut self,
        queue: &str,
        config: QueueConfig,
    ) -> Result<Queue, Status> {
        let queue = Queue {
            name: queue.into(),
            config: Some(config),
            ..Queue::default()
        };
        let created = self
            .admin
            .create_queue(CreateQueueRequest { queue: Some(queue) })
            .await?;
        Ok(created.into_inner().queue.unwrap())
    }

    pub(crate) async fn join(&mut self, queue: &str) -> JoinResponse {
        let request = JoinRequest {
            queue: queue.into(),
            wait: seconds(20),
            ..JoinRequest::default()
        };
        self.queues.join(request).await.unwrap().into_inner()
    }
}

/// A consumer's stream, by hand.
pub(crate) struct Consumer {
    sender: mpsc::Sender<ConsumeRequest>,
    unopened: Option<mpsc::Receiver<ConsumeRequest>>,
    answers: Option<Streaming<ConsumeResponse>>,
}

pub(crate) fn start(queue: &str, credit: i32) -> ConsumeStart {
    ConsumeStart {
        hello: hello(),
        queue: queue.into(),
        credit: Some(Credit {
            items: credit,
            bytes: 0,
        }),
        ..ConsumeStart::default()
    }
}

impl Consumer {
    async fn open(&mut self, fixture: &mut Fixture) -> Result<(), Status> {
        let requests = ReceiverStream::new(self.unopened.take().unwrap());
        self.answers = Some(fixture.queues.consume(requests).await?.into_inner());
        Ok(())
    }

    pub(crate) async fn send(&mut self, request: Sent) {
        self.sender
            .send(ConsumeRequest {
                sent_ns: 0,
                down_leg_ns: None,
                request: Some(request),
            })
            .await
            .unwrap();
    }

    /// What comes next but for notices; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Answer>, Status> {
        loop {
            let answer = timeout(PATIENCE, self.answers.as_mut().unwrap().message())
                .await
                .expect("no answer");
            match answer?.map(|message| message.response.unwrap()) {
                Some(Answer::Notice(_) | Answer::Started(_)) => {}
                other => return Ok(other),
            }
        }
    }

    pub(crate) async fn deliveries(&mut self) -> Vec<Delivery> {
        match self.next().await {
            Ok(Some(Answer::Deliveries(batch))) => batch.deliveries,
            other => panic!("expected deliveries, got {other:?}"),
        }
    }

    pub(crate) async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        while taken.len() < count {
            taken.extend(self.deliveries().await);
        }
        taken
    }

    pub(crate) async fn settled(&mut self) -> Settled {
        match self.next().await {
            Ok(Some(Answer::Settled(settled))) => settled,
            other => panic!("expected settled, got {other:?}"),
        }
    }

    pub(crate) async fn ack(&mut self, first: u64, last: u64) -> Vec<(u64, u64, SettleOutcome)> {
        let action = Some(delivery_settle::Action::Ack(Ack {}));
        let settle = DeliverySettle {
            first,
            last,
            action,
            stamps: vec![],
        };
        self.send(Sent::Settle(SettleBatch {
            settle_id: 7,
            deliveries: vec![settle],
            leases: vec![],
        }))
        .await;
        let settled = self.settled().await;
        assert_eq!(settled.settle_id, 7);
        settled
            .deliveries
            .iter()
            .map(|range| (range.first, range.last, range.outcome()))
            .collect()
    }

    /// Ends one delivery, with what its handler says.
    pub(crate) async fn settle_stamped(
        &mut self,
        delivery: u64,
        action: delivery_settle::Action,
        stamps: HandlerStamps,
    ) {
        let settle = DeliverySettle {
            first: delivery,
            action: Some(action),
            stamps: vec![stamps],
            ..DeliverySettle::default()
        };
        self.send(Sent::Settle(SettleBatch {
            settle_id: delivery,
            deliveries: vec![settle],
            leases: vec![],
        }))
        .await;
        assert_eq!(self.settled().await.settle_id, delivery);
    }

    /// Exchanges two pings, by a clock of its own.
    pub(crate) async fn ping_from(&mut self, clock: impl Fn() -> u64) {
        let mut down_leg_ns = None;
        for nonce in 1..=2 {
            let request = ConsumeRequest {
                sent_ns: clock(),
                down_leg_ns,
                request: Some(Sent::Ping(Ping { nonce })),
            };
            self.sender.send(request).await.unwrap();
            let answers = self.answers.as_mut().unwrap();
            loop {
                let answer = timeout(PATIENCE, answers.message()).await;
                let answer = answer.expect("no answer").unwrap().unwrap();
                if let Some(Answer::Pong(_)) = answer.response {
                    let leg = clock().wrapping_sub(answer.sent_ns).cast_signed();
                    down_leg_ns = Some(leg);
                    break;
                }
            }
        }
    }

    /// Closes the connection's sending half, or all of it.
    pub(crate) fn hang_up(self) {}

    /// Says that nothing more will be said.
    pub(crate) fn half_close(&mut self) {
        self.sender = mpsc::channel(1).0;
    }

    pub(crate) async fn refusal(&mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without an error"),
                Err(status) => return status,
            }
        }
    }
}

/// Checks a refusal: its code, its reason, and that it says something.
pub(crate) fn assert_refused(status: &Status, code: Code, reason: &str) {
    assert_eq!(status.code(), code, "{status:?}");
    let details = status.get_error_details();
    let info = details
        .error_info()
        .expect("every refusal carries an ErrorInfo");
    assert_eq!(
        (info.reason.as_str(), info.domain.as_str()),
        (reason, "baton"),
        "{status:?}"
    );
    assert!(status.message().len() > 20, "{status:?} says too little");
}

pub(crate) fn ids(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.item_id).collect()
}

pub(crate) fn ack() -> Action {
    Action::Ack(Ack {})
}

pub(crate) fn nack(error: &str) -> Action {
    let delay = Some(prost_types::Duration::default());
    Action::Nack(Nack {
        error: error.into(),
        delay,
        ..Nack::default()
    })
}

impl Fixture {
    /// Asks until the queue exists.
    pub(crate) async fn stats_when_exists(&mut self, queue: &str) {
        let ask = async {
            while self
                .admin
                .get_queue(GetQueueRequest { name: queue.into() })
                .await
                .is_err()
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, ask).await.expect("nobody made the queue");
    }
}
