//! What a run costs: CPU, memory and disk of the server, CPU of this process, and of whatever else ran.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use baton_bench::disk::{self, Device};
use baton_bench::process;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// The server's process and its data directory.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    pub(crate) pid_file: PathBuf,
    pub(crate) data_dir: PathBuf,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    server_cpu_s: f64,
    client_cpu_s: f64,
    machine: MachineCpu,
    server_written: u64,
    disk_written: u64,
    flushes: u64,
}

/// The difference between two samples.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Cost {
    pub(crate) server_cpu_s: f64,
    pub(crate) client_cpu_s: f64,
    /// CPU that neither server nor client used: the kernel's own threads, or a noisy neighbour.
    pub(crate) other_cpu_s: f64,
    /// CPU time that the hypervisor gave to others.
    pub(crate) stolen_cpu_s: f64,
    /// Highest resident set of the server since the first sample.
    pub(crate) server_peak_rss: u64,
    /// write_bytes of /proc/PID/io: of a page (where the file system has large folios, a whole one) that was written once more,
    /// all bytes count again.
    pub(crate) server_written: u64,
    /// Bytes that reached the disk, whoever wrote them.
    pub(crate) disk_written: u64,
    /// Cache flushes that the disk finished, whoever asked: the syncs that really reached it.
    pub(crate) disk_flushes: u64,
}

impl Probe {
    fn pid(&self) -> Result<u32> {
        let text = fs::read_to_string(&self.pid_file);
        let text = text.with_context(|| format!("no pid file {}", self.pid_file.display()))?;
        Ok(text.trim().parse()?)
    }

    fn sample(&self) -> Result<Sample> {
        let pid = self.pid()?;
        let device = Device::of(&self.data_dir);
        Ok(Sample {
            server_cpu_s: process::family_cpu_seconds(pid).context("the server is gone")?,
            client_cpu_s: own_cpu_s(),
            machine: machine_cpu()?,
            server_written: process::written_bytes(pid).unwrap_or_default(),
            disk_written: device
                .as_ref()
                .and_then(Device::written_bytes)
                .unwrap_or_default(),
            flushes: device
                .as_ref()
                .and_then(Device::flushes)
                .unwrap_or_default(),
        })
    }

    /// Forgets the peak resident set so far and takes the first sample.
    pub(crate) fn start(&self) -> Result<Sample> {
        process::forget_peak(self.pid()?)?;
        self.sample()
    }

    pub(crate) fn since(&self, first: Sample) -> Result<Cost> {
        let now = self.sample()?;
        let server_cpu_s = now.server_cpu_s - first.server_cpu_s;
        let client_cpu_s = now.client_cpu_s - first.client_cpu_s;
        let machine_cpu_s = now.machine.worked_s - first.machine.worked_s;
        Ok(Cost {
            server_cpu_s,
            client_cpu_s,
            other_cpu_s: (machine_cpu_s - server_cpu_s - client_cpu_s).max(0.0),
            stolen_cpu_s: now.machine.stolen_s - first.machine.stolen_s,
            server_peak_rss: self.resident()?.peak,
            server_written: now.server_written.saturating_sub(first.server_written),
            disk_written: now.disk_written.saturating_sub(first.disk_written),
            disk_flushes: now.flushes.saturating_sub(first.flushes),
        })
    }

    fn resident(&self) -> Result<process::Resident> {
        process::resident(self.pid()?).context("the server is gone")
    }

    pub(crate) fn rss(&self) -> Result<u64> {
        Ok(self.resident()?.now)
    }

    /// Bytes that the data directory takes on disk; 0 where there is none.
    pub(crate) fn disk_bytes(&self) -> u64 {
        disk::directory_bytes(&self.data_dir).unwrap_or_default()
    }
}

fn own_cpu_s() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct MachineCpu {
    worked_s: f64,
    stolen_s: f64,
}

fn machine_cpu() -> Result<MachineCpu> {
    cpu_of(&fs::read_to_string("/proc/stat")?).context("odd /proc/stat")
}

fn cpu_of(stat: &str) -> Option<MachineCpu> {
    let ticks = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks = ticks.split_whitespace().map(|t| t.parse::<f64>().ok());
    let ticks = ticks.collect::<Option<Vec<_>>>()?;
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = ticks[..] else {
        return None;
    };
    Some(MachineCpu {
        worked_s: (user + nice + system + irq + softirq) / process::TICKS_PER_SECOND,
        stolen_s: steal / process::TICKS_PER_SECOND,
    })
}

/// Waits until the machine is nearly idle, for at most `patience`.
pub(crate) async fn quiet(patience: Duration) -> Result<()> {
    const STEP: Duration = Duration::from_millis(200);
    const BUSY: f64 = 0.1;
    let give_up = Instant::now() + patience;
    let cores = std::thread::available_parallelism()?.get() as f64;
    loop {
        let before = machine_cpu()?.worked_s;
        tokio::time::sleep(STEP).await;
        let busy = (machine_cpu()?.worked_s - before) / STEP.as_secs_f64() / cores;
        if busy < BUSY || Instant::now() > give_up {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_works_in_all_modes_but_idle_and_waiting() {
        let cpu = cpu_of("cpu  100 200 300 9000 9000 10 90 50 0 0\ncpu0 1 1 1 1\n").unwrap();
        assert_eq!((cpu.worked_s, cpu.stolen_s), (7.0, 0.5));
        assert_eq!(cpu_of("cpu0 1 2"), None);
    }
}
