//! The broker: hands items from producers to consumers.
//!
//! [`Broker::start`] binds the ports and runs everything; [`Running`] is the broker at work, and drains it. Arrows point
//! down: `rpc` and `http` -> `engine` -> the queue state machine. `config` turns flags, environment and file into
//! one [`Config`]. The binary is a shell around this; tests embed it.

pub mod config;
mod connections;
mod drain;
pub mod engine;
pub mod error;
mod http;
pub mod limits;
mod rpc;

use std::io;
use std::net::SocketAddr;

use baton_proto::v1::Durability;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::server::HealthReporter;
use tracing::info;

pub use crate::config::Config;
use crate::connections::Listener;
use crate::engine::{Engine, EngineSettings};
use crate::limits::{CONNECTIONS_MAX, HTTP_CONNECTION_LIFETIME, HTTP_CONNECTIONS_MAX};
use crate::rpc::{Context, GrpcServer};

/// Why a broker did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A port is taken, or not ours to take.
    #[error("cannot listen on {address}: {source}{}", hint(source))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A declared queue.
    #[error("cannot make queue {name:?}: {source}")]
    Queue {
        /// Which.
        name: String,
        /// Why.
        source: error::Error,
    },
    /// The compiled contract cannot be read.
    #[error("server reflection cannot read the compiled contract: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "; is another broker running there?",
        io::ErrorKind::PermissionDenied => {
            "; take a port above 1023, or run it with the right to take this one"
        }
        _ => "",
    }
}

/// A broker at work.
#[derive(Debug)]
pub struct Running {
    /// Where gRPC is served.
    pub grpc: SocketAddr,
    /// Where HTTP is served.
    pub http: SocketAddr,
    engine: Engine,
    health: HealthReporter,
    draining: CancellationToken,
    stop: CancellationToken,
    streams: TaskTracker,
    servers: JoinSet<()>,
}

/// See the module.
#[derive(Debug)]
pub struct Broker;

impl Broker {
    /// Binds the ports, makes the declared queues and serves.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Running, StartError> {
        let grpc = listen(config.listen).await?;
        let http = listen(config.http).await?;
        let engine = engine(&config)?;
        let (draining, stop) = (CancellationToken::new(), CancellationToken::new());
        let streams = TaskTracker::new();
        let context = Context {
            engine: engine.clone(),
            payload_bytes_max: config.payload_bytes_max,
            draining: draining.clone(),
            streams: streams.clone(),
        };
        let server = GrpcServer::new(context).await?;
        let health = server.health();
        let (grpc_address, http_address) =
            (address(&grpc, config.listen), address(&http, config.http));
        let mut servers = JoinSet::new();
        let stopped = stop.clone();
        servers.spawn(async move {
            if let Err(error) = server
                .serve(Listener::new(grpc, CONNECTIONS_MAX, None), stopped)
                .await
            {
                tracing::error!(%error, "gRPC server ended");
            }
        });
        let (drained, stopped) = (draining.clone(), stop.clone());
        servers.spawn(async move {
            if let Err(error) = http::serve(
                Listener::new(http, HTTP_CONNECTIONS_MAX, Some(HTTP_CONNECTION_LIFETIME)),
                drained,
                stopped,
            )
            .await
            {
                tracing::error!(%error, "HTTP server ended");
            }
        });
        announce(grpc_address, http_address, engine.durability());
        Ok(Running {
            grpc: grpc_address,
            http: http_address,
            engine,
            health,
            draining,
            stop,
            streams,
            servers,
        })
    }
}

fn engine(config: &Config) -> Result<Engine, StartError> {
    let engine = Engine::new(EngineSettings {
        auto_create: config.auto_create,
        memory_bytes_max: config.memory_bytes_max,
    });
    for (name, queue) in &config.queues {
        let made = engine.create(name, queue.clone());
        made.map_err(|source| StartError::Queue {
            name: name.clone(),
            source,
        })?;
    }
    Ok(engine)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })
}

fn address(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

fn announce(grpc: SocketAddr, http: SocketAddr, durability: Durability) {
    let version = env!("CARGO_PKG_VERSION");
    let durability = durability.as_str_name().trim_start_matches("DURABILITY_");
    info!(version, %grpc, %http, engine = "memory", durability, "broker is ready");
    info!("items live in memory only: a restart loses them");
}
