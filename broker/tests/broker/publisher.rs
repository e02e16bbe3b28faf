//! A publisher's stream, by hand.

use baton_proto::v1::publish_stream_request::Request as Sent;
use baton_proto::v1::publish_stream_response::Response as Answer;
use baton_proto::v1::*;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::support::{Fixture, PATIENCE, hello};

pub(crate) struct Publisher {
    sender: mpsc::Sender<PublishStreamRequest>,
    answers: Streaming<PublishStreamResponse>,
}

impl Publisher {
    pub(crate) async fn open(fixture: &mut Fixture, queue: &str, producer: &str) -> Self {
        let begin = PublishStart {
            hello: hello(),
            queue: queue.into(),
            producer_id: producer.into(),
        };
        Self::begin(fixture, begin).await
    }

    /// With a hello of its own.
    pub(crate) async fn open_as(fixture: &mut Fixture, queue: &str, hello: Option<Hello>) -> Self {
        let begin = PublishStart {
            hello,
            queue: queue.into(),
            producer_id: "p".into(),
        };
        Self::begin(fixture, begin).await
    }

    async fn begin(fixture: &mut Fixture, begin: PublishStart) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        let open = fixture.queues.publish_stream(ReceiverStream::new(receiver));
        let begin = PublishStreamRequest {
            sent_ns: 0,
            down_leg_ns: None,
            request: Some(Sent::Start(begin)),
        };
        let (answers, _) = tokio::join!(open, sender.send(begin));
        Self {
            sender,
            answers: answers.unwrap().into_inner(),
        }
    }

    pub(crate) async fn publish(&self, first_sequence: u64, items: Vec<Item>) {
        let batch = PublishBatch {
            first_sequence,
            items,
        };
        let request = PublishStreamRequest {
            sent_ns: 0,
            down_leg_ns: None,
            request: Some(Sent::Batch(batch)),
        };
        self.sender.send(request).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Answer {
        self.answer().await.unwrap()
    }

    pub(crate) async fn confirmed(&mut self) -> Vec<(u64, u32)> {
        loop {
            if let Answer::Confirms(confirms) = self.next().await {
                assert!(confirms.confirms.iter().all(|confirm| confirm.error == 0));
                let confirms = confirms.confirms.iter();
                return confirms
                    .map(|confirm| (confirm.first_sequence, confirm.count))
                    .collect();
            }
        }
    }

    /// What is confirmed until the stream ends, as sequence, count and error, and why it ends.
    pub(crate) async fn ended(&mut self) -> (Vec<(u64, u32, i32)>, Status) {
        let mut told = Vec::new();
        loop {
            match self.answer().await {
                Ok(Answer::Confirms(confirms)) => {
                    let confirms = confirms.confirms.iter();
                    told.extend(confirms.map(|c| (c.first_sequence, c.count, c.error)));
                }
                Ok(_) => {}
                Err(status) => return (told, status),
            }
        }
    }

    async fn answer(&mut self) -> Result<Answer, Status> {
        let answer = timeout(PATIENCE, self.answers.message()).await;
        let answer = answer.expect("no answer")?;
        Ok(answer
            .expect("a stream ends with a reason")
            .response
            .unwrap())
    }
}
