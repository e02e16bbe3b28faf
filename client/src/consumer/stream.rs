//! A consume stream's opening and its messages.
//!
//! Owns nothing; called by the driver.

use std::sync::Arc;

use baton_proto::opaque::{ConsumeRequest, ConsumeResponse, ConsumeStart, Credit, Drain, Ping};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

pub(super) use baton_proto::opaque::consume_request::Request;

use super::Options;
use crate::clock::wire_duration;
use crate::context::{Context, OPEN_TIMEOUT, opened};
use crate::error::Error;
use crate::pulse::Stamp;

/// Messages between the driver and the connection: one under way and one behind it. More would only split settles.
const REQUESTS: usize = 2;

pub(super) type Requests = mpsc::Sender<ConsumeRequest>;
pub(super) type Responses = Streaming<ConsumeResponse>;

pub(super) fn start(
    context: &Context,
    queue: &str,
    options: &Options,
    credit: Option<Credit>,
) -> ConsumeStart {
    ConsumeStart {
        hello: Some(context.hello()),
        queue: queue.to_owned(),
        credit,
        lease_duration: options.lease_duration.map(wire_duration),
        disconnect_grace: options.disconnect_grace.map(wire_duration),
        until_drained: options.until_drained,
    }
}

pub(super) async fn open(
    context: Arc<Context>,
    start: ConsumeStart,
) -> Result<(Requests, Responses), Error> {
    let mut client = context.connect().await?;
    let (requests, outgoing) = mpsc::channel(REQUESTS);
    // Before the call: a broker may answer only once it knows what for.
    let room = requests.try_send(request(Request::Start(start), Stamp::first()));
    room.map_err(|_| Error::Closed)?;
    let call = client.consume(ReceiverStream::new(outgoing));
    let response = opened(timeout(OPEN_TIMEOUT, call).await)?;
    Ok((requests, response.into_inner()))
}

pub(super) fn drain() -> Request {
    Request::Drain(Drain {})
}

pub(super) fn ping() -> Request {
    Request::Ping(Ping::default())
}

pub(super) fn request(request: Request, stamp: Stamp) -> ConsumeRequest {
    ConsumeRequest {
        sent_ns: stamp.sent_ns,
        down_leg_ns: stamp.down_leg_ns,
        request: Some(request),
    }
}
