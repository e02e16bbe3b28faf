//! A client that knows the contract and nothing of our library: it makes its own stamps, contexts and mistakes.

use baton_proto::v1::lease_settle::Action;
use baton_proto::v1::queue_service_client::QueueServiceClient;
use baton_proto::v1::{
    Ack, Item, LeaseRequest, LeaseSettle, PublishRequest, PublishResult, SettleRequest,
};
use tonic::Status;
use tonic::transport::Channel;

#[derive(Debug, Clone)]
pub(crate) struct Bare {
    calls: QueueServiceClient<Channel>,
}

impl Bare {
    /// To a broker at a URL.
    pub(crate) async fn connect(url: String) -> Self {
        let calls = QueueServiceClient::connect(url).await.unwrap();
        Self { calls }
    }

    /// One call.
    pub(crate) async fn publish(
        &mut self,
        queue: &str,
        items: Vec<Item>,
    ) -> Result<Vec<PublishResult>, Status> {
        let request = PublishRequest {
            queue: queue.to_owned(),
            items,
            ..PublishRequest::default()
        };
        let answer = self.calls.publish(request).await?;
        Ok(answer.into_inner().results)
    }

    /// Takes items and acknowledges them, until there are none; how many.
    pub(crate) async fn work_off(&mut self, queue: &str) -> usize {
        let mut count = 0;
        loop {
            let request = LeaseRequest {
                queue: queue.to_owned(),
                max_items: 1000,
                ..LeaseRequest::default()
            };
            let leased = self.calls.lease(request).await.unwrap().into_inner().items;
            if leased.is_empty() {
                return count;
            }
            count += leased.len();
            let settles = leased.into_iter().map(|delivery| LeaseSettle {
                lease: delivery.lease,
                action: Some(Action::Ack(Ack {})),
                stamps: None,
            });
            let request = SettleRequest {
                queue: queue.to_owned(),
                settles: settles.collect(),
            };
            self.calls.settle(request).await.unwrap();
        }
    }
}

/// An item with a trace context.
pub(crate) fn item(traceparent: &str, tracestate: &str) -> Item {
    Item {
        traceparent: traceparent.to_owned(),
        tracestate: tracestate.to_owned(),
        payload: b"x".as_slice().into(),
        ..Item::default()
    }
}
