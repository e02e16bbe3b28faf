//! One item, explained by everything that explains: both programs, the call and the page say the same.

use baton_e2e::broker::{Broker, Launch};

/// Two items, of which one has been worked on.
async fn with_items(broker: &Broker) {
    let send = broker.producer(&["orders", "send"]);
    send.finish_with(b"bread\nsalt\n").await.ok();
    let print = broker.consumer(&["orders", "print", "--count", "1"]);
    print.finish().await.ok();
}

/// What each says of an item.
async fn told(broker: &Broker, item_id: u64) -> [String; 4] {
    let id = item_id.to_string();
    let ask = ["orders", "--explain", &id];
    let producer = broker.producer(&ask).finish().await.ok();
    let consumer = broker.consumer(&ask).finish().await.ok();
    let queue = broker.client().queue("orders");
    let call = queue.explain(item_id).await.unwrap().text;
    let path = format!("/api/v1/queues/orders/items/{item_id}?format=text");
    let page = broker.get(&path).await;
    [producer.stdout, consumer.stdout, call, page]
}

/// But for the first line, which says how long ago it was.
fn rest(text: &str) -> &str {
    text.split_once('\n').unwrap().1
}

#[tokio::test]
async fn all_explain_an_item_in_the_same_words() {
    let broker = Broker::start().await;
    with_items(&broker).await;
    let told = told(&broker, 1).await;
    for text in &told {
        assert!(text.starts_with("item 1 was acknowledged by "), "{text}");
        for said in ["queue", "process", "total "] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert_eq!(rest(text), rest(&told[0]));
    }
}

#[tokio::test]
async fn all_explain_an_item_that_nothing_is_remembered_of() {
    let nothing = Launch::durable().and(&["--latency-budget", "0"]);
    let broker = nothing.start().await;
    with_items(&broker).await;
    for text in told(&broker, 1).await {
        assert_eq!(text, "item 1 was acknowledged\n");
    }
    for text in told(&broker, 2).await {
        assert!(text.starts_with("item 2 is ready since "), "{text}");
        assert_eq!(rest(&text), "", "a sentence");
    }
}

#[tokio::test]
async fn an_item_that_never_was_is_no_success() {
    let broker = Broker::start().await;
    with_items(&broker).await;
    for program in [Broker::producer, Broker::consumer] {
        let asked = program(&broker, &["orders", "--explain", "77"]);
        let asked = asked.finish().await;
        assert_eq!((asked.code, asked.stdout.as_str()), (Some(1), ""));
        assert!(asked.stderr.contains("77"), "{}", asked.stderr);
    }
}
