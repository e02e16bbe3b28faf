//! The settings of the bare stream's connections: those of Baton's client and broker.

use std::time::Duration;

use anyhow::Result;
use baton_proto::opaque::queue_service_client::QueueServiceClient;
use tonic::transport::{Channel, Endpoint, Server};

const FRAME_BYTES: u32 = 64 << 10;
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
pub(crate) const MAX_MESSAGE_BYTES: usize = 17 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Messages between a task and its connection: one under way and one behind it.
pub(crate) const MESSAGES: usize = 2;

pub(crate) fn server() -> Server {
    Server::builder()
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

/// A connection of its own.
pub(crate) async fn connect(url: &str) -> Result<QueueServiceClient<Channel>> {
    let channel = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .connect()
        .await?;
    Ok(QueueServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES))
}
