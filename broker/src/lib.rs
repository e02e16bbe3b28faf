//! The broker: hands items from producers to consumers.
//!
//! [`Broker::start`] binds the ports and runs everything; [`Running`] is the broker at work, and drains it. Arrows point
//! down: `rpc` and `http` -> `engine` -> the queue state machine. `config` turns flags, environment and file into
//! one [`Config`]. `offline` looks after a data directory that no broker has, `health` asks a broker how it is. The binary is a shell around this; tests embed it.

pub mod config;
mod connections;
mod drain;
pub mod engine;
pub mod error;
pub mod health;
mod housekeeping;
mod http;
pub mod limits;
pub mod offline;
mod rpc;
mod traces;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::server::HealthReporter;
use tracing::info;

pub use crate::config::Config;
use crate::connections::Listener;
use crate::engine::{Engine, EngineSettings, Keep, Readiness};
use crate::http::Site;
use crate::limits::{CONNECTIONS_MAX, HTTP_CONNECTION_LIFETIME, HTTP_CONNECTIONS_MAX};
use crate::rpc::{Context, GrpcServer, set_not_serving, set_serving};
use crate::traces::{Exporting, TraceFiles};

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
    /// The data directory.
    #[error(transparent)]
    Journal(#[from] baton_journal::Error),
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
    exporting: Option<Exporting>,
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
        let exporting = Exporting::start(&config, address(&grpc, config.listen));
        let engine = open(&config, exporting.as_ref()).await?;
        declare(&engine, &config).await?;
        let (draining, stop) = (CancellationToken::new(), CancellationToken::new());
        let streams = TaskTracker::new();
        let context = Context {
            engine: engine.clone(),
            payload_bytes_max: config.payload_bytes_max,
            draining: draining.clone(),
            streams: streams.clone(),
        };
        let site = Site::new(
            context.clone(),
            exporting.as_ref().map(Exporting::counters),
            TraceFiles::new(&config, address(&grpc, config.listen)),
        );
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
        let stopped = stop.clone();
        servers.spawn(async move {
            if let Err(error) = http::serve(
                Listener::new(http, HTTP_CONNECTIONS_MAX, Some(HTTP_CONNECTION_LIFETIME)),
                site,
                stopped,
            )
            .await
            {
                tracing::error!(%error, "HTTP server ended");
            }
        });
        servers.spawn(tell_health(engine.clone(), health.clone(), stop.clone()));
        servers.spawn(housekeeping::keep_house(engine.clone(), stop.clone()));
        announce(grpc_address, http_address, &engine);
        Ok(Running {
            grpc: grpc_address,
            http: http_address,
            engine,
            health,
            draining,
            stop,
            streams,
            servers,
            exporting,
        })
    }
}

async fn open(config: &Config, exporting: Option<&Exporting>) -> Result<Engine, StartError> {
    let settings = EngineSettings {
        auto_create: config.auto_create,
        keep: config.keep.clone(),
        accounting: config.accounting(exporting.map(Exporting::sink)),
    };
    let opening = tokio::task::spawn_blocking(move || Engine::open(settings));
    let opened = opening
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    Ok(opened?)
}

/// Makes the declared queues, or brings those that are there in line. What was paused or closed at run time stays so.
async fn declare(engine: &Engine, config: &Config) -> Result<(), StartError> {
    for (name, declared) in &config.queues {
        let failed = |source| StartError::Queue {
            name: name.clone(),
            source,
        };
        let existing = match engine.create(name, declared.clone()) {
            Err(error::Error::QueueExists(_)) => engine.queue(name).map_err(failed)?,
            made => {
                made.map_err(failed)?;
                continue;
            }
        };
        let declared = declared.clone();
        let updated = existing.act(move |view| {
            let now = view.queue.config();
            let paused = declared.paused || now.paused;
            let config = baton_queue::Config {
                paused,
                closed: now.closed,
                ..declared
            };
            let differs = *now != config;
            view.queue.set_config(view.now, config, view.events);
            differs
        });
        if updated.await.map_err(failed)? {
            info!(queue = %name, "queue updated as declared");
        }
    }
    Ok(())
}

/// Health checks say what `/readyz` says.
async fn tell_health(engine: Engine, health: HealthReporter, stop: CancellationToken) {
    /// Health checks ask every few seconds.
    const LOOK_INTERVAL: Duration = Duration::from_millis(200);
    let mut told = true;
    while !stop.is_cancelled() {
        let ready = engine.readiness() == Readiness::Ready;
        if ready != told {
            told = ready;
            if ready {
                set_serving(&health).await
            } else {
                set_not_serving(&health).await
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = engine.failed(), if told => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })
}

fn address(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

fn announce(grpc: SocketAddr, http: SocketAddr, engine: &Engine) {
    let version = env!("CARGO_PKG_VERSION");
    let durability = engine.durability();
    let durability = durability.as_str_name().trim_start_matches("DURABILITY_");
    match &engine.settings().keep {
        Keep::Memory { .. } => {
            info!(version, %grpc, %http, engine = "memory", durability, "broker is ready");
            info!("items live in memory only: a restart loses them");
        }
        Keep::Journal(storage) => {
            let data = storage.directory.display();
            info!(version, %grpc, %http, engine = "journal", %data, durability, "broker is ready");
        }
    }
}

impl Running {
    /// Returns when the disk has failed: nothing more is stored, and the process should end.
    pub async fn failed(&self) {
        self.engine.failed().await;
    }
}
