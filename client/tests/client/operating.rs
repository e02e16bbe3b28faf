//! What operators' calls ask of the broker.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use baton_client::{Client, ErrorCode, ItemState, QueueConfig, QueueStats};
use baton_proto::v1::admin_service_server::{AdminService, AdminServiceServer};
use baton_proto::v1::*;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};

use crate::broker::{refusal, soon};

/// Notes the requests, and answers them from a list or with nothing.
#[derive(Default)]
pub(crate) struct Admin {
    tracing: bool,
    updates: Mutex<Vec<UpdateQueueRequest>>,
    redrives: Mutex<Vec<RedriveItemsRequest>>,
    queues: Mutex<VecDeque<Result<Queue, Status>>>,
    pages: Mutex<VecDeque<ListQueuesResponse>>,
}

impl Admin {
    /// Of a broker that exports spans, or not.
    pub(crate) fn tracing(tracing: bool) -> Self {
        Self {
            tracing,
            ..Self::default()
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn nothing<T: Default>() -> Answer<T> {
    Ok(Response::new(T::default()))
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_queue(&self, _: Request<CreateQueueRequest>) -> Answer<CreateQueueResponse> {
        Err(Status::unavailable("not to be retried"))
    }

    async fn get_queue(&self, _: Request<GetQueueRequest>) -> Answer<GetQueueResponse> {
        let queue = self.queues.lock().unwrap().pop_front().unwrap()?;
        Ok(Response::new(GetQueueResponse { queue: Some(queue) }))
    }

    async fn update_queue(&self, r: Request<UpdateQueueRequest>) -> Answer<UpdateQueueResponse> {
        let request = r.into_inner();
        let queue = request.queue.clone();
        self.updates.lock().unwrap().push(request);
        Ok(Response::new(UpdateQueueResponse { queue }))
    }

    async fn delete_queue(&self, _: Request<DeleteQueueRequest>) -> Answer<DeleteQueueResponse> {
        nothing()
    }

    async fn list_queues(&self, r: Request<ListQueuesRequest>) -> Answer<ListQueuesResponse> {
        let page = self.pages.lock().unwrap().pop_front().unwrap();
        assert_eq!(
            r.get_ref().page_token.is_empty(),
            !page.next_page_token.is_empty()
        );
        Ok(Response::new(page))
    }

    async fn purge_queue(&self, _: Request<PurgeQueueRequest>) -> Answer<PurgeQueueResponse> {
        nothing()
    }

    async fn peek_items(&self, _: Request<PeekItemsRequest>) -> Answer<PeekItemsResponse> {
        nothing()
    }

    async fn get_item(&self, r: Request<GetItemRequest>) -> Answer<GetItemResponse> {
        let explanation = Explanation {
            item_id: r.get_ref().item_id,
            text: "a waterfall".to_owned(),
            ..Explanation::default()
        };
        Ok(Response::new(GetItemResponse {
            explanation: Some(explanation),
        }))
    }

    async fn list_slow_items(
        &self,
        r: Request<ListSlowItemsRequest>,
    ) -> Answer<ListSlowItemsResponse> {
        let request = r.into_inner();
        assert_eq!((request.stage(), request.max_items), (Stage::Queue, 3));
        let item = SlowItem {
            explanation: Some(Explanation {
                item_id: 7,
                ..Explanation::default()
            }),
            duration: request.window,
        };
        let items = vec![item];
        Ok(Response::new(ListSlowItemsResponse { items }))
    }

    async fn get_latency(&self, r: Request<GetLatencyRequest>) -> Answer<GetLatencyResponse> {
        let request = r.into_inner();
        let stage = StageLatency {
            stage: Stage::Settle.into(),
            count: 12,
            max: request.window,
            ..StageLatency::default()
        };
        Ok(Response::new(GetLatencyResponse {
            window: request.window,
            stages: vec![stage],
            verdict: "all is well".to_owned(),
            ..GetLatencyResponse::default()
        }))
    }

    async fn cancel_items(&self, r: Request<CancelItemsRequest>) -> Answer<CancelItemsResponse> {
        assert_eq!(r.get_ref().item_ids, [1, 2]);
        let states = [ItemState::Ready, ItemState::Leased];
        Ok(Response::new(CancelItemsResponse {
            states: states.map(Into::into).to_vec(),
            cancelled: 1,
        }))
    }

    async fn list_dead_letters(
        &self,
        _: Request<ListDeadLettersRequest>,
    ) -> Answer<ListDeadLettersResponse> {
        nothing()
    }

    async fn redrive_items(&self, r: Request<RedriveItemsRequest>) -> Answer<RedriveItemsResponse> {
        self.redrives.lock().unwrap().push(r.into_inner());
        Ok(Response::new(RedriveItemsResponse { redriven: 3 }))
    }

    async fn discard_items(&self, _: Request<DiscardItemsRequest>) -> Answer<DiscardItemsResponse> {
        nothing()
    }

    async fn get_server_info(
        &self,
        _: Request<GetServerInfoRequest>,
    ) -> Answer<GetServerInfoResponse> {
        Ok(Response::new(GetServerInfoResponse {
            tracing: self.tracing,
            ..GetServerInfoResponse::default()
        }))
    }
}

async fn start() -> (Arc<Admin>, Client, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::connect(format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let admin = Arc::new(Admin::default());
    let service = AdminServiceServer::from_arc(Arc::clone(&admin));
    let mut server = JoinSet::new();
    server.spawn(async move {
        let router = tonic::transport::Server::builder().add_service(service);
        let incoming = TcpListenerStream::new(listener);
        router.serve_with_incoming(incoming).await.unwrap();
    });
    (admin, client, server)
}

#[tokio::test]
async fn a_pause_changes_nothing_but_the_pause() {
    let (admin, client, _server) = start().await;
    let queue = client.queue("orders");
    soon(queue.pause()).await.unwrap();
    soon(queue.resume()).await.unwrap();
    let updates = admin.updates.lock().unwrap();
    for (update, paused) in updates.iter().zip([true, false]) {
        assert_eq!(update.update_mask.as_ref().unwrap().paths, ["paused"]);
        let sent = update.queue.as_ref().unwrap();
        assert_eq!(
            (sent.name.as_str(), sent.config.unwrap().paused),
            ("orders", paused)
        );
    }
    assert_eq!(updates.len(), 2);
}

#[tokio::test]
async fn a_queue_at_its_limit_is_full() {
    let (admin, client, _server) = start().await;
    let queue = |leased| Queue {
        config: Some(QueueConfig {
            max_items: 3,
            ..QueueConfig::default()
        }),
        stats: Some(QueueStats {
            scheduled: 1,
            ready: 1,
            leased,
            ..QueueStats::default()
        }),
        ..Queue::default()
    };
    let answers = [Ok(queue(0)), Err(Status::unavailable("lost")), Ok(queue(1))];
    admin.queues.lock().unwrap().extend(answers);
    assert!(!soon(client.queue("orders").is_full()).await.unwrap());
    assert!(soon(client.queue("orders").is_full()).await.unwrap());
}

#[tokio::test]
async fn a_missing_queue_is_told_by_its_code() {
    let (admin, client, _server) = start().await;
    let missing = refusal(Code::NotFound, ErrorCode::QueueNotFound, None);
    admin.queues.lock().unwrap().push_back(Err(missing));
    let error = soon(client.queue("orders").stats()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::QueueNotFound));
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_create_is_not_repeated() {
    let (_admin, client, _server) = start().await;
    let error = soon(client.queue("orders").create(QueueConfig::default())).await;
    assert!(error.unwrap_err().is_retryable());
}

#[tokio::test]
async fn redriving_no_ids_redrives_nothing() {
    let (admin, client, _server) = start().await;
    let queue = client.queue("orders");
    assert_eq!(soon(queue.redrive(&[])).await.unwrap(), 0);
    assert_eq!(soon(queue.redrive(&[7])).await.unwrap(), 3);
    assert_eq!(soon(queue.redrive_oldest(5)).await.unwrap(), 3);
    let redrives = admin.redrives.lock().unwrap();
    let asked: Vec<_> = redrives
        .iter()
        .map(|r| (r.item_ids.clone(), r.max_items))
        .collect();
    assert_eq!(asked, [(vec![7], 0), (vec![], 5)]);
}

#[tokio::test]
async fn a_cancel_tells_where_each_item_was() {
    let (_admin, client, _server) = start().await;
    let states = soon(client.queue("orders").cancel(&[1, 2])).await.unwrap();
    assert_eq!(states, [ItemState::Ready, ItemState::Leased]);
}

#[tokio::test]
async fn a_list_of_queues_has_all_pages() {
    let (admin, client, _server) = start().await;
    let page = |name: &str, next: &str| ListQueuesResponse {
        queues: vec![Queue {
            name: name.to_owned(),
            ..Queue::default()
        }],
        next_page_token: next.to_owned(),
    };
    admin
        .pages
        .lock()
        .unwrap()
        .extend([page("a", "more"), page("b", "")]);
    let queues = soon(client.queues("")).await.unwrap();
    let names: Vec<_> = queues.iter().map(|queue| queue.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[tokio::test]
async fn an_item_is_explained_in_the_brokers_words() {
    let (_admin, client, _server) = start().await;
    let explained = soon(client.queue("orders").explain(42)).await.unwrap();
    assert_eq!(
        (explained.item_id, explained.text.as_str()),
        (42, "a waterfall")
    );
}

#[tokio::test]
async fn the_time_of_a_queues_items_can_be_asked_for() {
    let (_admin, client, _server) = start().await;
    let queue = client.queue("orders");
    let window = Duration::from_millis(2500);
    let latency = soon(queue.latency(window)).await.unwrap();
    assert_eq!(
        (latency.window, latency.verdict.as_str()),
        (window, "all is well")
    );
    let stage = latency.stages[0];
    assert_eq!(
        (stage.stage, stage.count, stage.max),
        (baton_client::Stage::Settle, 12, window)
    );
    let slowest = soon(queue.slowest(baton_client::Stage::Queue, 3, window))
        .await
        .unwrap();
    assert_eq!(
        (slowest[0].duration, slowest[0].explanation.item_id),
        (window, 7)
    );
}
