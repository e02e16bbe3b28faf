//! Our programs run beside their software, and behind slow links.

use baton_e2e::broker::Launch;

use crate::agent::Agent;
use crate::delay_proxy::{Delay, DelayProxy};
use crate::http;
use crate::programs::Programs;

#[tokio::test]
async fn items_go_through_while_a_collector_listens_and_the_link_is_slow() {
    let agent = Agent::start().await;
    let programs = Programs::exporting_to(agent.url()).with("OTEL_TRACES_SAMPLER", "always_on");
    let broker = programs.broker(Launch::in_memory()).await;
    let address = format!("127.0.0.1:{}", broker.port());
    let slow = DelayProxy::start(address, Delay::fixed(20), Delay::fixed(10).and_up_to(5)).await;
    let producer = programs.producer(&slow.url(), &["q", "send"]);
    producer.finish_with(b"a\nb\nc\n").await.ok();
    let consumer = programs.consumer(&slow.url(), &["q", "print", "--raw", "--until-drained"]);
    assert_eq!(consumer.finish().await.ok().stdout, "a\nb\nc\n");
    assert_eq!(http::fetch(broker.http(), "/readyz").await.trim(), "ready");
}
