//! The broker that is measured: a process of its own, killed when dropped, and what the kernel says of it.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use baton_client::Client;
use tokio::process::{Child, Command};

use crate::args::Args;

/// Longer than a broker takes to start on a busy machine.
const START_WAIT: Duration = Duration::from_secs(10);
/// Clock ticks of /proc/PID/stat a second; Linux has had this for all architectures for decades.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(crate) struct Broker {
    url: String,
    /// None where it is somebody else's.
    process: Option<Child>,
}

impl Broker {
    pub(crate) async fn start(args: &Args) -> Result<Self> {
        if let Some(url) = &args.broker {
            return Ok(Self {
                url: url.clone(),
                process: None,
            });
        }
        let binary = args
            .broker_binary
            .clone()
            .map_or_else(beside_this_program, Ok)?;
        let (grpc, http) = (free_port()?, free_port()?);
        let process = Command::new(&binary)
            .args(["--memory", "--log", "error"])
            .args([
                "--listen",
                &format!("127.0.0.1:{grpc}"),
                "--http",
                &format!("127.0.0.1:{http}"),
            ])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start {}; build it first, with --release",
                    binary.display()
                )
            })?;
        let broker = Self {
            url: format!("http://127.0.0.1:{grpc}"),
            process: Some(process),
        };
        broker
            .client()?
            .server_info()
            .await
            .context("the broker did not come up")?;
        Ok(broker)
    }

    pub(crate) fn client(&self) -> Result<Client> {
        Ok(Client::builder(&self.url)
            .give_up_after(START_WAIT)
            .build()?)
    }

    /// Resident memory in bytes; none for somebody else's broker.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(self.proc("status")?).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }

    /// CPU seconds so far; none for somebody else's broker.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        cpu_seconds(&self.proc("stat")?)
    }

    fn proc(&self, file: &str) -> Option<String> {
        let id = self.process.as_ref()?.id()?;
        Some(format!("/proc/{id}/{file}"))
    }
}

/// CPU seconds of this process so far.
pub(crate) fn own_cpu_seconds() -> Option<f64> {
    cpu_seconds("/proc/self/stat")
}

fn cpu_seconds(path: &str) -> Option<f64> {
    let stat = fs::read_to_string(path).ok()?;
    // The command's name may have spaces and parentheses in it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
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
