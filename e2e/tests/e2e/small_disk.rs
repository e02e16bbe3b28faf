//! A disk that fills up: publishes are refused, settles go on, room comes back, and nothing is lost or repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use baton_client::{Delivery, Settled};
use baton_proto::v1::queue_service_client::QueueServiceClient;
use baton_proto::v1::{Item, PublishRequest};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::broker::{Broker, Launch};
use crate::processes::PATIENCE;
use crate::scratch::Scratch;

const PAYLOAD_BYTES: usize = 64 * 1024;
/// For a call that has no reason to wait; long enough for a machine that is busy with other tests.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Of 96 MiB: what is left are spare segments, checkpoints and the segment that is being written.
const ITEMS_AT_LEAST: usize = 700;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_publishes_and_nothing_else() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let launch = Launch::on(&disk.path).and(&["--grace", "2s"]);
    let broker = launch.start().await;
    let mut ledger = Ledger::default();
    ledger.fill(&broker).await;
    assert!(
        ledger.confirmed.len() > ITEMS_AT_LEAST,
        "{}",
        ledger.counts()
    );
    says_that_it_is_full(&broker).await;

    let stream = broker.client().producer("q").open();
    let waiting = stream.send(ledger.next_item()).await.unwrap();
    let mut waiting = Box::pin(waiting);
    let early = timeout(Duration::from_millis(500), &mut waiting).await;
    assert!(early.is_err(), "a stream waits, but: {early:?}");

    ledger.ack(&broker, 20).await;
    let broker = broker.kill().await.start().await;
    ledger.ack(&broker, 20).await;
    let (_, launch) = broker.terminate().await;
    let broker = launch.start().await;
    ledger.ack(&broker, 20).await;
    ledger.fill(&broker).await;
    says_that_it_is_full(&broker).await;

    ledger.drain(&broker).await;
    let receipt = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    ledger.confirmed.insert(ledger.streamed, receipt.item_id);
    says_that_it_has_room(&broker).await;
    let before = ledger.confirmed.len();
    ledger.fill(&broker).await;
    let refilled = ledger.confirmed.len() - before;
    assert!(refilled > ITEMS_AT_LEAST, "room comes back: {refilled}");
    let broker = broker.kill().await.start().await;
    ledger.drain(&broker).await;
    says_that_it_has_room(&broker).await;
    ledger.check();
    println!("{}", ledger.counts());
}

async fn says_that_it_is_full(broker: &Broker) {
    let full = |answer: &str| answer.contains(" 503 ") && answer.contains("the disk is full");
    readyz_when(broker, full).await;
    health_when(broker, ServingStatus::NotServing).await;
}

async fn says_that_it_has_room(broker: &Broker) {
    readyz_when(broker, |answer| answer.contains(" 200 ")).await;
    health_when(broker, ServingStatus::Serving).await;
}

async fn readyz_when(broker: &Broker, holds: impl Fn(&str) -> bool) {
    let ask = async {
        while !holds(&broker.readyz().await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, ask).await.expect("/readyz never says so");
}

async fn health_when(broker: &Broker, status: ServingStatus) {
    let mut health = HealthClient::new(channel(broker).await);
    let ask = async {
        while health
            .check(HealthCheckRequest::default())
            .await
            .unwrap()
            .into_inner()
            .status()
            != status
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, ask).await.expect("health never says so");
}

async fn channel(broker: &Broker) -> Channel {
    let endpoint = Channel::from_shared(broker.url()).unwrap();
    endpoint.connect().await.unwrap()
}

/// What was said of each item, by its number.
#[derive(Debug, Default)]
struct Ledger {
    next: u64,
    /// The one that a stream waits with.
    streamed: u64,
    /// Item ids.
    confirmed: BTreeMap<u64, u64>,
    refused: BTreeSet<u64>,
    acked: BTreeSet<u64>,
}

impl Ledger {
    fn next_item(&mut self) -> baton_client::Item {
        self.next += 1;
        self.streamed = self.next;
        baton_client::Item::new(payload(self.next))
    }

    /// Publishes by calls until one is refused, as the contract has it.
    async fn fill(&mut self, broker: &Broker) {
        let mut queues = QueueServiceClient::new(channel(broker).await);
        loop {
            self.next += 1;
            let item = Item {
                payload: payload(self.next).into(),
                ..Item::default()
            };
            let request = PublishRequest {
                queue: "q".into(),
                items: vec![item],
                ..PublishRequest::default()
            };
            let answer = timeout(ANSWER_WAIT, queues.publish(request)).await;
            match answer.expect("a full disk refuses, it does not keep waiting") {
                Ok(response) => {
                    let id = response.into_inner().results[0].item_id;
                    self.confirmed.insert(self.next, id);
                }
                Err(status) => {
                    check_refusal(&status);
                    self.refused.insert(self.next);
                    return;
                }
            }
        }
    }

    /// Takes some items, and is told that their acks are durable.
    async fn ack(&mut self, broker: &Broker, items: u32) {
        let queue = broker.client().queue("q");
        let leased = queue.lease(items, PATIENCE).await.unwrap();
        assert!(
            !leased.is_empty(),
            "a full disk keeps nobody from consuming"
        );
        self.ack_all(leased).await;
    }

    async fn ack_all(&mut self, leased: Vec<Delivery>) {
        let acks: Vec<_> = leased
            .into_iter()
            .map(|delivery| (number(&delivery), delivery.attempt(), delivery.ack()))
            .collect();
        for (number, attempt, ack) in acks {
            let answer = timeout(PATIENCE, ack).await.expect("acks go on");
            assert_eq!(answer.unwrap(), Settled::Done, "of {number}");
            assert_eq!(attempt, 1, "{number} came before");
            assert!(self.acked.insert(number), "{number} came twice");
        }
    }

    async fn drain(&mut self, broker: &Broker) {
        let queue = broker.client().queue("q");
        loop {
            let leased = queue.lease(100, Duration::from_millis(500)).await.unwrap();
            if leased.is_empty() {
                return;
            }
            self.ack_all(leased).await;
        }
    }

    fn check(&self) {
        let confirmed: BTreeSet<_> = self.confirmed.keys().copied().collect();
        assert_eq!(self.acked, confirmed, "lost, or refused and stored");
        assert!(self.acked.is_disjoint(&self.refused));
        let ids: BTreeSet<_> = self.confirmed.values().collect();
        assert_eq!(ids.len(), confirmed.len(), "an id for each");
    }

    fn counts(&self) -> String {
        let (confirmed, refused) = (self.confirmed.len(), self.refused.len());
        format!(
            "{confirmed} confirmed, {refused} refused, {} acked",
            self.acked.len()
        )
    }
}

fn check_refusal(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(
        (info.domain, info.reason),
        ("baton".into(), "DISK_FULL".into())
    );
    let retry = status.get_details_retry_info().unwrap();
    assert!(retry.retry_delay.is_some(), "{status}");
}

fn payload(number: u64) -> Vec<u8> {
    let mut payload = vec![0; PAYLOAD_BYTES];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload
}

fn number(delivery: &Delivery) -> u64 {
    let payload = delivery.payload();
    assert_eq!(payload.len(), PAYLOAD_BYTES);
    u64::from_be_bytes(payload[..8].try_into().unwrap())
}

/// A file system of 96 MiB, unmounted with the value.
struct SmallDisk {
    path: PathBuf,
    _scratch: Scratch,
}

impl SmallDisk {
    /// None: somebody said to go without.
    fn mount() -> Option<Self> {
        if std::env::var("BATON_SKIP_SMALL_DISK").is_ok_and(|skip| skip == "1") {
            eprintln!("skipped: BATON_SKIP_SMALL_DISK=1");
            return None;
        }
        let scratch = Scratch::new();
        let path = scratch.path().join("disk");
        std::fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"]);
        let mounted = mount.arg(&path).output().unwrap();
        assert!(
            mounted.status.success(),
            "cannot mount a small disk ({}): run this test as root, or say BATON_SKIP_SMALL_DISK=1 to go without it",
            String::from_utf8_lossy(&mounted.stderr).trim()
        );
        Some(Self {
            path,
            _scratch: scratch,
        })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: after a panic the broker may not have ended yet.
        let unmounted = Command::new("umount").arg("-l").arg(&self.path).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}
