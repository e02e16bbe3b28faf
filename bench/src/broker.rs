//! The broker that is measured: a process of its own with a directory of its own, both gone when this is dropped.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use baton_client::{Backoff, Client};
use tempfile::TempDir;

use crate::args::{Args, Engine};
use crate::disk::{self, Device};
use crate::process::{self, Resident};

/// Longer than a broker takes to read what it has on a busy machine.
const START_WAIT: Duration = Duration::from_secs(120);
/// How finely the time until a broker answers is measured.
const PROBE: Duration = Duration::from_millis(2);
const NOT_OURS: &str = "somebody else's broker is not killed: leave --broker away";

#[derive(Debug)]
pub(crate) struct Broker {
    url: String,
    /// None where it is somebody else's.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    process: Child,
    binary: PathBuf,
    arguments: Vec<OsString>,
    /// None where it has nothing on disk. Dropped after the process was waited for.
    directory: Option<TempDir>,
}

/// A broker's start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Started {
    /// Just before the process was made.
    pub(crate) at: Instant,
    /// Until a call was answered.
    pub(crate) ready: Duration,
}

impl Broker {
    pub(crate) async fn start(args: &Args) -> Result<Self> {
        if let Some(url) = &args.broker {
            return Ok(Self {
                url: url.clone(),
                own: None,
            });
        }
        let binary = args.broker_binary.clone();
        let binary = binary.map_or_else(beside_this_program, Ok)?;
        let (grpc, http) = (free_port()?, free_port()?);
        let directory = match args.engine {
            Engine::Data => Some(fresh_directory(&args.dir)?),
            Engine::Memory => None,
        };
        let mut arguments: Vec<OsString> = vec!["--log".into(), "error".into()];
        arguments.extend(["--listen".into(), format!("127.0.0.1:{grpc}").into()]);
        arguments.extend(["--http".into(), format!("127.0.0.1:{http}").into()]);
        arguments.extend(engine_arguments(
            args,
            directory.as_ref().map(TempDir::path),
        ));
        arguments.extend(args.broker_arg.iter().map(OsString::from));
        let mut broker = Self {
            url: format!("http://127.0.0.1:{grpc}"),
            own: Some(Own {
                process: spawn(&binary, &arguments)?,
                binary,
                arguments,
                directory,
            }),
        };
        broker.ready().await?;
        Ok(broker)
    }

    /// To be asked before a long run that ends in a crash.
    ///
    /// # Errors
    /// It is somebody else's.
    pub(crate) fn check_ours(&self) -> Result<()> {
        ensure!(self.own.is_some(), NOT_OURS);
        Ok(())
    }

    /// Kills it (SIGKILL) and starts it again with what it has on disk.
    pub(crate) async fn crash(&mut self) -> Result<Started> {
        let own = self.own.as_mut().context(NOT_OURS)?;
        own.end();
        let at = Instant::now();
        own.process = spawn(&own.binary, &own.arguments)?;
        self.ready().await?;
        Ok(Started {
            at,
            ready: at.elapsed(),
        })
    }

    /// A client of its own: a connection of its own.
    pub(crate) fn client(&self) -> Result<Client> {
        Ok(Client::builder(&self.url)
            .give_up_after(START_WAIT)
            .build()?)
    }

    pub(crate) fn resident(&self) -> Option<Resident> {
        process::resident(self.id()?)
    }

    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        process::cpu_seconds(self.id()?)
    }

    pub(crate) fn written_bytes(&self) -> Option<u64> {
        process::written_bytes(self.id()?)
    }

    /// Bytes of disk that its directory takes.
    pub(crate) fn directory_bytes(&self) -> Option<u64> {
        disk::directory_bytes(self.directory()?).ok()
    }

    /// What its directory lies on.
    pub(crate) fn device(&self) -> Option<Device> {
        Device::of(self.directory()?)
    }

    fn directory(&self) -> Option<&Path> {
        let own = self.own.as_ref()?;
        own.directory.as_ref().map(TempDir::path)
    }

    fn id(&self) -> Option<u32> {
        self.own.as_ref().map(|own| own.process.id())
    }

    /// Waits until it answers a call; fails as soon as it has ended.
    async fn ready(&mut self) -> Result<()> {
        let client = Client::builder(&self.url)
            .give_up_after(START_WAIT)
            .reconnect(Backoff {
                initial: PROBE,
                max: PROBE,
            })
            .build()?;
        let answer = client.server_info();
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => {
                    answer.context("the broker does not answer")?;
                    return Ok(());
                }
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
            if let Some(own) = &mut self.own
                && let Some(status) = own.process.try_wait()?
            {
                bail!("the broker ended at its start: {status}");
            }
        }
    }
}

impl Own {
    fn end(&mut self) {
        // It may have ended by itself. Waited for, so that nothing writes to its directory any more.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.end();
    }
}

fn engine_arguments(args: &Args, directory: Option<&Path>) -> Vec<OsString> {
    let Some(directory) = directory else {
        return vec!["--memory".into()];
    };
    let mut arguments: Vec<OsString> = vec!["--data".into(), directory.into()];
    let sizes = [
        ("--memory-budget", args.memory_budget),
        ("--segment-size", args.segment_size),
    ];
    for (flag, size) in sizes {
        let size = size.map(|size| [flag.into(), size.as_u64().to_string().into()]);
        arguments.extend(size.into_iter().flatten());
    }
    arguments
}

fn spawn(binary: &Path, arguments: &[OsString]) -> Result<Child> {
    let spawned = Command::new(binary)
        .args(arguments)
        .stdin(Stdio::null())
        .spawn();
    spawned.with_context(|| {
        let binary = binary.display();
        format!("cannot start {binary}; build it first, with --release")
    })
}

fn fresh_directory(parent: &Path) -> Result<TempDir> {
    let made = fs::create_dir_all(parent)
        .and_then(|()| tempfile::Builder::new().prefix("run-").tempdir_in(parent));
    made.with_context(|| format!("cannot make a directory in {}", parent.display()))
}

fn beside_this_program() -> Result<PathBuf> {
    let own = env::current_exe()?;
    let binary = own.with_file_name("baton-broker");
    ensure!(
        binary.exists(),
        "{} is not there; build it first, with --release",
        binary.display()
    );
    Ok(binary)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn the_data_engine_gets_its_directory_and_its_sizes() {
        let line = "baton-bench ping-pong --segment-size 1MiB --memory-budget 64MiB";
        let args = Args::parse_from(line.split(' '));
        let data = engine_arguments(&args, Some(Path::new("d")));
        let expected = "--data d --memory-budget 67108864 --segment-size 1048576";
        assert_eq!(data, expected.split(' ').collect::<Vec<_>>());
        assert_eq!(engine_arguments(&args, None), ["--memory"]);
    }
}
