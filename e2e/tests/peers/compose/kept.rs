//! What outlives the containers: the volume, and that it has one broker.

use super::docker::{PATIENCE, run};
use super::stack::Stack;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_outlive_the_containers_and_have_one_broker() {
    let stack = Stack::up(1, 1).await;
    stack.scale(2, 0).await;
    while stack.stats().await.ready < 100 {
        tokio::task::yield_now().await;
    }
    stack.scale(0, 0).await;
    let before = stack.stats().await;
    stack.compose(&["stop"]).await;
    stack.ended_by_themselves().await;
    stack.compose(&["down"]).await;
    assert_eq!(stack.all_containers().await, Vec::<String>::new());
    stack.scale(0, 0).await;
    let after = stack.stats().await;
    assert!(before.ready >= 100, "{before:?}");
    let kept = |stats: &baton_client::QueueStats| {
        (
            stats.ready,
            stats.last_item_id,
            stats.published_total,
            stats.acked_total,
        )
    };
    assert_eq!(kept(&after), kept(&before));
    second_broker_is_refused(&stack).await;
    stack.scale(1, 1).await;
    stack.goes_on().await;
    stack.ends_well().await;
}

async fn second_broker_is_refused(stack: &Stack) {
    let volume = format!("{}:/data", stack.volume());
    let image = stack.image("broker");
    let words = ["run", "--rm", "--volume", &volume, &image, "--insecure"];
    let second = run(&words, &[], PATIENCE).await;
    assert_eq!(second.code, 1, "{second:?}");
    assert!(
        second.output.contains("is in use; stop the other broker"),
        "{second:?}"
    );
    // Nor does the image serve others without being told that it may.
    let unasked = run(&["run", "--rm", &image], &[], PATIENCE).await;
    assert!(
        unasked.code == 64 && unasked.output.contains("--insecure"),
        "{unasked:?}"
    );
}
