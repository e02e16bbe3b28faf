//! What operators and their tools can do.

use baton_proto::v1::*;
use tonic::Code;

use crate::publisher::Publisher;
use crate::support::*;

#[tokio::test]
async fn queues_are_made_shown_changed_listed_and_deleted() {
    let mut fixture = broker().await;
    let config = QueueConfig {
        max_attempts: 3,
        max_items: 10,
        ..QueueConfig::default()
    };
    let made = fixture.create("orders", config).await.unwrap();
    let shown = made.config.as_ref().unwrap();
    assert_eq!(
        (shown.max_attempts, shown.max_items, shown.lease_duration),
        (3, 10, seconds(30))
    );
    let twice = fixture
        .create("orders", QueueConfig::default())
        .await
        .unwrap_err();
    assert_refused(&twice, Code::AlreadyExists, "QUEUE_EXISTS");

    fixture
        .update(
            "orders",
            QueueConfig {
                paused: true,
                ..QueueConfig::default()
            },
            "paused",
        )
        .await;
    let stale = UpdateQueueRequest {
        queue: Some(Queue {
            stats: None,
            ..made
        }),
        update_mask: None,
    };
    let stale = fixture.admin.update_queue(stale).await.unwrap_err();
    assert_refused(&stale, Code::Aborted, "ETAG_MISMATCH");
}

#[tokio::test]
async fn queues_are_listed_by_page_and_deleted_when_empty_or_by_force() {
    let mut fixture = broker().await;
    fixture
        .create("orders", QueueConfig::default())
        .await
        .unwrap();
    for name in ["a", "orders.eu", "z"] {
        fixture.publish(name, items(1)).await.unwrap();
    }
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListQueuesRequest {
            page_size: 2,
            page_token,
            name_prefix: String::new(),
        };
        let page = fixture
            .admin
            .list_queues(request)
            .await
            .unwrap()
            .into_inner();
        names.extend(page.queues.into_iter().map(|queue| queue.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["a", "orders", "orders.eu", "z"]);

    let delete = |name: &str, force| DeleteQueueRequest {
        name: name.into(),
        force,
    };
    let held = fixture
        .admin
        .delete_queue(delete("a", false))
        .await
        .unwrap_err();
    assert_refused(&held, Code::FailedPrecondition, "QUEUE_NOT_EMPTY");
    fixture.admin.delete_queue(delete("a", true)).await.unwrap();
    let gone = fixture
        .admin
        .get_queue(GetQueueRequest { name: "a".into() })
        .await
        .unwrap_err();
    assert_refused(&gone, Code::NotFound, "QUEUE_NOT_FOUND");
}

#[tokio::test]
async fn deleting_a_queue_tells_its_consumers() {
    let mut fixture = broker().await;
    let mut consumer = fixture.consume(start("q", 1)).await;
    fixture
        .admin
        .delete_queue(DeleteQueueRequest {
            name: "q".into(),
            force: true,
        })
        .await
        .unwrap();
    assert_refused(&consumer.refusal().await, Code::NotFound, "QUEUE_NOT_FOUND");
}

#[tokio::test]
async fn a_paused_queue_takes_items_and_hands_none_out() {
    let mut fixture = broker().await;
    fixture
        .create(
            "q",
            QueueConfig {
                paused: true,
                ..QueueConfig::default()
            },
        )
        .await
        .unwrap();
    fixture.publish("q", items(1)).await.unwrap();
    let mut consumer = fixture.consume(start("q", 1)).await;
    assert_eq!(
        explain(&mut fixture, 1).await.wait_reason(),
        WaitReason::Paused
    );
    fixture.update("q", QueueConfig::default(), "paused").await;
    assert_eq!(ids(&consumer.take(1).await), [1]);
}

#[tokio::test]
async fn an_item_explains_itself_in_every_state() {
    let mut fixture = broker().await;
    let delay = item::Schedule::Delay(seconds(60).unwrap());
    fixture
        .publish(
            "q",
            vec![
                item("a"),
                Item {
                    schedule: Some(delay),
                    ..item("b")
                },
            ],
        )
        .await
        .unwrap();
    let ready = explain(&mut fixture, 1).await;
    assert_eq!(
        (ready.state(), ready.wait_reason()),
        (ItemState::Ready, WaitReason::NoConsumer)
    );
    assert!(
        ready.summary.contains("nobody consumes"),
        "{}",
        ready.summary
    );
    let delayed = explain(&mut fixture, 2).await;
    assert_eq!(
        (delayed.state(), delayed.wait_reason()),
        (ItemState::Scheduled, WaitReason::Delayed)
    );
    let leased = fixture.lease("q", 1).await;
    let with = explain(&mut fixture, 1).await;
    assert_eq!(
        (with.state(), with.consumer.as_str(), with.attempts),
        (ItemState::Leased, "test", 1)
    );
    let reject = lease_settle::Action::Nack(Nack {
        dead_letter: true,
        error: "bad".into(),
        ..Nack::default()
    });
    fixture.settle("q", &leased[0], reject).await;
    let dead = explain(&mut fixture, 1).await;
    assert_eq!(
        (dead.state(), dead.dead_reason()),
        (ItemState::Dead, FailureReason::Rejected)
    );
    assert_eq!(
        (
            dead.failed_attempts[0].error.as_str(),
            dead.failed_attempts[0].consumer.as_str()
        ),
        ("bad", "test")
    );
    discard(&mut fixture, 1).await;
    assert_eq!(explain(&mut fixture, 1).await.state(), ItemState::Done);
    let never = fixture
        .admin
        .get_item(GetItemRequest {
            queue: "q".into(),
            item_id: 99,
        })
        .await
        .unwrap_err();
    assert_refused(&never, Code::NotFound, "ITEM_NOT_FOUND");
}

#[tokio::test]
async fn dead_letters_are_listed_redriven_and_discarded() {
    let mut fixture = broker().await;
    let config = QueueConfig {
        max_attempts: 1,
        backoff: Some(Backoff {
            initial: seconds(0),
            max: seconds(0),
        }),
        ..QueueConfig::default()
    };
    fixture.create("q", config).await.unwrap();
    fixture.publish("q", items(3)).await.unwrap();
    for delivery in fixture.lease("q", 3).await {
        fixture.settle("q", &delivery, nack("broken")).await;
    }
    let request = ListDeadLettersRequest {
        queue: "q".into(),
        page_size: 2,
        after: 0,
    };
    let page = fixture
        .admin
        .list_dead_letters(request)
        .await
        .unwrap()
        .into_inner();
    assert!(page.more);
    let shown: Vec<_> = page
        .items
        .iter()
        .map(|dead| dead.item.as_ref().unwrap().payload.clone())
        .collect();
    assert_eq!(shown, ["0", "1"]);
    let redrive = RedriveItemsRequest {
        queue: "q".into(),
        item_ids: vec![2],
        max_items: 0,
    };
    assert_eq!(
        fixture
            .admin
            .redrive_items(redrive)
            .await
            .unwrap()
            .into_inner()
            .redriven,
        1
    );
    let again = fixture.lease("q", 1).await;
    assert_eq!(
        (again[0].item_id, again[0].attempt),
        (2, 2),
        "attempts go on counting"
    );
    fixture.settle("q", &again[0], ack()).await;
    discard(&mut fixture, 1).await;
    let all = RedriveItemsRequest {
        queue: "q".into(),
        ..RedriveItemsRequest::default()
    };
    assert_eq!(
        fixture
            .admin
            .redrive_items(all)
            .await
            .unwrap()
            .into_inner()
            .redriven,
        1
    );
    assert_eq!(ids(&fixture.lease("q", 5).await), [3]);
}

#[tokio::test]
async fn items_are_peeked_cancelled_and_purged() {
    let mut fixture = broker().await;
    fixture.publish("q", items(5)).await.unwrap();
    let leased = fixture.lease("q", 1).await;
    let peek = PeekItemsRequest {
        queue: "q".into(),
        max_items: 2,
        after: 2,
        ..PeekItemsRequest::default()
    };
    let peeked = fixture
        .admin
        .peek_items(peek)
        .await
        .unwrap()
        .into_inner()
        .items;
    assert_eq!(
        peeked
            .iter()
            .map(|item| item.explanation.as_ref().unwrap().item_id)
            .collect::<Vec<_>>(),
        [3, 4]
    );
    let cancel = CancelItemsRequest {
        queue: "q".into(),
        item_ids: vec![1, 2, 99],
    };
    let cancelled = fixture
        .admin
        .cancel_items(cancel)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(cancelled.cancelled, 1);
    let states: Vec<_> = cancelled.states().collect();
    assert_eq!(
        states,
        [ItemState::Leased, ItemState::Ready, ItemState::Unspecified]
    );
    let purge = PurgeQueueRequest {
        name: "q".into(),
        ..PurgeQueueRequest::default()
    };
    assert_eq!(
        fixture
            .admin
            .purge_queue(purge)
            .await
            .unwrap()
            .into_inner()
            .purged,
        3
    );
    assert_eq!(
        fixture.settle("q", &leased[0], ack()).await,
        SettleOutcome::Ok
    );
    let joined = fixture.join("q").await;
    assert_eq!((joined.acked, joined.cancelled), (1, 4));
}

#[tokio::test]
async fn the_broker_says_what_it_is() {
    let mut fixture = broker().await;
    let info = fixture
        .admin
        .get_server_info(GetServerInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(info.durability(), durability());
    assert_eq!(info.max_payload_bytes, 1 << 20);
    assert!(info.auto_create && !info.version.is_empty() && info.broker_time.is_some());
}

#[tokio::test]
async fn ids_and_pages_have_limits() {
    let mut fixture = broker().await;
    fixture.publish("q", items(1)).await.unwrap();
    for item_ids in [vec![], vec![1; 1001]] {
        let cancel = CancelItemsRequest {
            queue: "q".into(),
            item_ids,
        };
        let refused = fixture.admin.cancel_items(cancel).await.unwrap_err();
        assert_refused(&refused, Code::InvalidArgument, "REQUEST_INVALID");
    }
    let peek = PeekItemsRequest {
        queue: "q".into(),
        max_items: 101,
        ..PeekItemsRequest::default()
    };
    let refused = fixture.admin.peek_items(peek).await.unwrap_err();
    assert_refused(&refused, Code::InvalidArgument, "REQUEST_INVALID");
    let purge = PurgeQueueRequest {
        name: "q".into(),
        state: ItemState::Leased.into(),
    };
    let refused = fixture.admin.purge_queue(purge).await.unwrap_err();
    assert_refused(&refused, Code::InvalidArgument, "REQUEST_INVALID");
}

async fn explain(fixture: &mut Fixture, item_id: u64) -> Explanation {
    let request = GetItemRequest {
        queue: "q".into(),
        item_id,
    };
    fixture
        .admin
        .get_item(request)
        .await
        .unwrap()
        .into_inner()
        .explanation
        .unwrap()
}

async fn discard(fixture: &mut Fixture, item_id: u64) {
    let request = DiscardItemsRequest {
        queue: "q".into(),
        item_ids: vec![item_id],
    };
    assert_eq!(
        fixture
            .admin
            .discard_items(request)
            .await
            .unwrap()
            .into_inner()
            .discarded,
        1
    );
}

#[tokio::test]
async fn deleting_a_queue_tells_a_publisher_whose_batch_waits_for_room() {
    let mut fixture = broker().await;
    let config = QueueConfig {
        max_items: 1,
        ..QueueConfig::default()
    };
    fixture.create("q", config).await.unwrap();
    let mut publisher = Publisher::open(&mut fixture, "q", "p").await;
    publisher.publish(1, items(2)).await;
    fixture.stats_when("q", |stats| stats.ready == 1).await;
    let delete = DeleteQueueRequest {
        name: "q".into(),
        force: true,
    };
    fixture.admin.delete_queue(delete).await.unwrap();
    let (_, end) = publisher.ended().await;
    assert_refused(&end, Code::NotFound, "QUEUE_NOT_FOUND");
}
