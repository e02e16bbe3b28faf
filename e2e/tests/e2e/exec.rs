//! A command for each item: its exit status is the item's fate.

use std::time::Duration;

use baton_client::{FailureReason, ItemState};

use crate::broker::Broker;

const VERDICTS: &str = r#"
read item
echo "$BATON_QUEUE $BATON_ITEM_ID $BATON_ATTEMPT $BATON_ATTRIBUTE_KIND $TRACEPARENT"
case "$item" in
  done) exit 0 ;;
  later) [ "$BATON_ATTEMPT" -gt 1 ] || exit 75 ;;
  hopeless) echo "cannot be helped" >&2; exit 65 ;;
esac
"#;

#[tokio::test]
async fn exit_statuses_ack_retry_and_give_up() {
    let broker = Broker::start().await;
    let input = b"done\nlater\nhopeless\n";
    broker
        .producer(&["q", "send", "--attribute", "kind=test"])
        .finish_with(input)
        .await
        .ok();
    let consumer = broker
        .consumer(&["q", "exec", "--until-drained", "--", "sh", "-c", VERDICTS])
        .finish()
        .await;
    for line in ["q 1 1 test ", "q 2 1 test ", "q 2 2 test ", "q 3 1 test "] {
        assert!(
            consumer.lines().contains(&line),
            "{line:?} is not in {consumer:?}"
        );
    }
    let stats = broker.stats("q").await;
    assert_eq!(
        (stats.acked_total, stats.dead, stats.failed_attempts_total),
        (2, 1, 2)
    );
    let dead = broker.client().queue("q").explain(3).await.unwrap();
    assert_eq!(
        (dead.state(), dead.dead_reason()),
        (ItemState::Dead, FailureReason::Rejected)
    );
    assert!(
        dead.failed_attempts[0].error.contains("cannot be helped"),
        "{dead:?}"
    );
}

#[tokio::test]
async fn a_command_may_take_longer_than_its_lease() {
    let broker = Broker::start().await;
    broker
        .producer(&["q", "send"])
        .finish_with(b"slow\n")
        .await
        .ok();
    let command = [
        "q",
        "exec",
        "--lease",
        "1s",
        "--until-drained",
        "--",
        "sleep",
        "2.5",
    ];
    broker.consumer(&command).finish().await.ok();
    let stats = broker.stats("q").await;
    assert_eq!(
        (stats.acked_total, stats.delivered_total),
        (1, 1),
        "delivered once: its lease was extended"
    );
}

#[tokio::test]
async fn a_command_that_does_not_exist_takes_no_item() {
    let broker = Broker::start().await;
    broker
        .producer(&["q", "send"])
        .finish_with(b"x\n")
        .await
        .ok();
    let consumer = broker
        .consumer(&["q", "exec", "--", "no-such-command-anywhere"])
        .finish()
        .await;
    assert_eq!(consumer.code, Some(127), "{consumer:?}");
    assert_eq!(broker.stats("q").await.delivered_total, 0);
}

#[tokio::test]
async fn items_that_keep_failing_become_dead_letters() {
    let broker = Broker::start().await;
    let config = baton_client::QueueConfig {
        max_attempts: 3,
        backoff: Some(baton_client::QueueBackoff {
            initial: Duration::from_millis(1).try_into().ok(),
            max: Duration::from_millis(1).try_into().ok(),
        }),
        ..baton_client::QueueConfig::default()
    };
    let queue = broker.client().queue("q");
    queue.create(config).await.unwrap();
    broker
        .producer(&["q", "send"])
        .finish_with(b"x\n")
        .await
        .ok();
    broker
        .consumer(&["q", "exec", "--until-drained", "--", "false"])
        .finish()
        .await;
    let item = queue.explain(1).await.unwrap();
    assert_eq!((item.state(), item.attempts), (ItemState::Dead, 3));
}
