//! The task behind a producer: takes what queued up in the window, sends it in batches, and tells each caller its fate.
//!
//! One stream at a time. A lost one is replaced, and everything unconfirmed is sent again under the sequences it had; the
//! broker recognises what it has. Idle, it connects to nothing. Nothing lingers: a batch is what queued up while the
//! message before it was on its way.

use std::sync::Arc;
use std::time::Duration;

use baton_proto::opaque::publish_stream_request::Request;
use baton_proto::opaque::publish_stream_response::Response;
use baton_proto::opaque::{Ping, PublishStart, PublishStreamRequest, PublishStreamResponse};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::ProducerBuilder;
use super::unconfirmed::Unconfirmed;
use super::window::Window;
use crate::backoff::Patience;
use crate::context::{Context, OPEN_TIMEOUT, opened};
use crate::error::Error;
use crate::pulse::{Pulse, Stamp};
use crate::telemetry::Scope;

/// Messages between the driver and the connection: one under way and one behind it. More would only split batches.
const REQUESTS: usize = 2;
/// How long to wait for the broker's end of a stream that has done its work.
const GOODBYE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Driver {
    context: Arc<Context>,
    window: Arc<Window>,
    queue: String,
    producer_id: String,
    scope: Arc<Scope>,
    unconfirmed: Unconfirmed,
    patience: Patience,
}

impl Driver {
    pub(super) fn new(settings: &ProducerBuilder, window: Arc<Window>, scope: Arc<Scope>) -> Self {
        Self {
            context: Arc::clone(&settings.context),
            window,
            queue: settings.queue.clone(),
            producer_id: settings.producer_id.clone(),
            unconfirmed: Unconfirmed::new(settings.first_sequence, Arc::clone(&scope)),
            scope,
            patience: settings.context.patience(),
        }
    }

    pub(super) async fn run(mut self) {
        while self.wait_for_work().await {
            let Err(error) = self.session().await else {
                return;
            };
            self.unconfirmed.restart(&error);
            if !error.is_retryable() {
                return self.end(&error);
            }
            self.wait_after(error).await;
        }
    }

    /// False: closed, and everything is confirmed.
    async fn wait_for_work(&mut self) -> bool {
        while !self.is_done() {
            if !self.unconfirmed.is_empty() {
                return true;
            }
            self.window.work().await;
        }
        false
    }

    fn is_done(&mut self) -> bool {
        // In this order: nothing enters after the closing.
        let closing = self.window.is_closing();
        self.unconfirmed.take_from(&self.window);
        closing && self.unconfirmed.is_empty()
    }

    async fn wait_after(&mut self, error: Error) {
        let queue = &self.queue;
        // With nothing to send there is nothing to hurry for: the next item connects.
        if self.unconfirmed.is_empty() {
            tracing::debug!(queue, %error, "idle publish stream ended");
            return;
        }
        tracing::debug!(queue, %error, "publish stream lost");
        if let Err(gave_up) = self.patience.failed(error).await {
            // Everybody who waits gets this error.
            tracing::debug!(queue, error = %gave_up, "unconfirmed items given up");
            self.unconfirmed.take_from(&self.window);
            self.unconfirmed.fail(&gave_up, &self.window);
            self.patience.start_anew();
        }
    }

    /// For good: this error is everybody's answer from now on.
    fn end(&mut self, error: &Error) {
        let queue = &self.queue;
        tracing::debug!(queue, %error, "producer ended");
        self.window.refuse(error.clone());
        self.unconfirmed.take_from(&self.window);
        self.unconfirmed.fail(error, &self.window);
    }

    /// One stream, until it is lost or everything is done.
    async fn session(&mut self) -> Result<(), Error> {
        let (requests, mut responses) = self.open().await?;
        let mut pulse = Pulse::new();
        loop {
            if self.is_done() {
                drop(requests);
                goodbye(responses).await;
                return Ok(());
            }
            tokio::select! {
                response = responses.message() => {
                    let response = ended(response)?;
                    let received_ns = pulse.received(response.sent_ns);
                    self.handle(&mut pulse, response, received_ns)?;
                }
                Ok(permit) = requests.reserve(), if pulse.ping_is_due() || self.unconfirmed.may_send() => {
                    if let Some(message) = self.next_request(&mut pulse) {
                        permit.send(request(message, pulse.stamp()));
                    }
                }
                () = self.window.work(), if !self.unconfirmed.has_unsent() => {}
                () = pulse.silent() => {}
            }
        }
    }

    async fn open(&self) -> Result<(mpsc::Sender<PublishStreamRequest>, Responses), Error> {
        let mut client = self.context.connect().await?;
        let (requests, outgoing) = mpsc::channel(REQUESTS);
        let start = PublishStart {
            hello: Some(self.context.hello()),
            queue: self.queue.clone(),
            producer_id: self.producer_id.clone(),
        };
        // Before the call: a broker may answer only once it knows what for.
        let room = requests.try_send(request(Request::Start(start), Stamp::first()));
        room.map_err(|_| Error::Closed)?;
        let call = client.publish_stream(ReceiverStream::new(outgoing));
        let response = opened(timeout(OPEN_TIMEOUT, call).await)?;
        Ok((requests, response.into_inner()))
    }

    fn next_request(&mut self, pulse: &mut Pulse) -> Option<Request> {
        if pulse.ping_is_due() {
            pulse.pinged();
            return Some(Request::Ping(Ping::default()));
        }
        self.unconfirmed.take_from(&self.window);
        self.unconfirmed.next_batch().map(Request::Batch)
    }

    fn handle(
        &mut self,
        pulse: &mut Pulse,
        response: PublishStreamResponse,
        received_ns: u64,
    ) -> Result<(), Error> {
        self.patience.answered();
        let pong = match &response.response {
            Some(Response::Pong(pong)) => Some(pong),
            _ => None,
        };
        self.scope.timed(response.sent_ns, received_ns, pong);
        match response.response {
            Some(Response::Confirms(confirms)) => {
                self.patience.progressed();
                self.unconfirmed.confirm(&confirms, &self.window)?;
            }
            Some(Response::Started(started)) => {
                self.context.broker_tracing().note(started.tracing);
                if (self.scope).began(started.clock.as_ref(), started.wall_shift_ns) {
                    pulse.measure();
                }
                self.unconfirmed.limit(&started);
            }
            Some(Response::Notice(notice)) => {
                let queue = &self.queue;
                tracing::info!(queue, kind = ?notice.kind(), message = notice.message, "notice");
            }
            // None: a kind that this version does not know.
            Some(Response::Pong(_)) | None => {}
        }
        Ok(())
    }
}

impl Drop for Driver {
    /// However the task ends, nobody may wait for it.
    fn drop(&mut self) {
        self.window.refuse(Error::Closed);
        self.window.finish();
    }
}

type Responses = Streaming<PublishStreamResponse>;

fn request(request: Request, stamp: Stamp) -> PublishStreamRequest {
    PublishStreamRequest {
        sent_ns: stamp.sent_ns,
        down_leg_ns: stamp.down_leg_ns,
        request: Some(request),
    }
}

/// A stream that the broker ends in peace is lost all the same, while there are items to confirm.
fn ended<T>(response: Result<Option<T>, Status>) -> Result<T, Error> {
    response?.ok_or_else(|| Status::unavailable("the broker ended the stream").into())
}

/// Lets the broker see the end of the stream before the end of the connection.
async fn goodbye(mut responses: Responses) {
    let rest = async { while let Ok(Some(_)) = responses.message().await {} };
    // A broker that does not end it has nothing that we still need.
    let _ = timeout(GOODBYE, rest).await;
}
