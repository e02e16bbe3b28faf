//! What streams say of time, for the broker to bound how far apart the two clocks are.

use baton_proto::opaque::{
    ConsumeStarted, Pong, PublishStarted, SettleOutcome, consume_request, consume_response,
    publish_stream_request, publish_stream_response,
};

use crate::broker::{Broker, item, soon, stored};

#[tokio::test]
async fn a_producer_reports_how_far_messages_seem_to_travel() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").open();
    let _first = soon(producer.send(item("a"))).await.unwrap();
    let mut session = broker.publish_stream().await;
    for _ in ["start", "batch"] {
        assert_eq!(session.message().await.unwrap().down_leg_ns, None);
    }
    let started = publish_stream_response::Response::Started(PublishStarted::default());
    session.respond(started).await;
    session.confirm(vec![stored(1, 1, 1)]).await;
    soon(producer.flush()).await.unwrap();
    let _second = soon(producer.send(item("b"))).await.unwrap();
    // The scripted broker stamps everything with 1.
    let leg = session.message().await.unwrap().down_leg_ns;
    assert!(leg.is_some_and(|leg| leg > 1_000), "{leg:?}");
}

#[tokio::test]
async fn a_consumer_reports_how_far_messages_seem_to_travel() {
    let broker = Broker::start().await;
    let mut consumer = broker.client().consumer("orders").open();
    let mut session = broker.consume().await;
    assert_eq!(session.message().await.unwrap().down_leg_ns, None);
    let started = consume_response::Response::Started(ConsumeStarted::default());
    session.respond(started).await;
    session.deliver(1..=1).await;
    let delivery = soon(consumer.next()).await.unwrap().unwrap();
    let settling = delivery.ack();
    let leg = session.message().await.unwrap().down_leg_ns;
    assert!(leg.is_some_and(|leg| leg > 1_000), "{leg:?}");
    drop(settling);
}

/// It takes 5 s: the time is a part of the promise, and no clock can be turned forward beside real sockets.
#[tokio::test]
async fn silent_streams_are_pinged() {
    let broker = Broker::start().await;
    let producer = broker.client().producer("orders").open();
    let _first = soon(producer.send(item("a"))).await.unwrap();
    let mut publishing = broker.publish_stream().await;
    publishing.start().await;
    publishing.batch().await;
    let mut consumer = broker.client().consumer("orders").open();
    let mut consuming = broker.consume().await;
    consuming.start().await;
    let ping = publishing.message().await.unwrap().request;
    assert!(
        matches!(ping, Some(publish_stream_request::Request::Ping(_))),
        "{ping:?}"
    );
    let ping = consuming.message().await.unwrap().request;
    assert!(
        matches!(ping, Some(consume_request::Request::Ping(_))),
        "{ping:?}"
    );
    // An answer is nothing to the user.
    consuming
        .respond(consume_response::Response::Pong(Pong::default()))
        .await;
    consuming.deliver(1..=1).await;
    let settling = soon(consumer.next()).await.unwrap().unwrap().ack();
    let batch = loop {
        // On a slow machine another ping may be due meanwhile.
        match consuming.request().await {
            Some(consume_request::Request::Ping(_)) => {}
            Some(consume_request::Request::Settle(batch)) => break batch,
            other => panic!("not a settle: {other:?}"),
        }
    };
    consuming.answer(&batch, SettleOutcome::Ok).await;
    soon(settling).await.unwrap();
}
