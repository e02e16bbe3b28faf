//! The machine's own limits: disk, loopback, memory.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::Result;
use baton_bench::disk::Device;
use rustix::fs::{FallocateFlags, fallocate};
use serde::Serialize;
use serde_json::json;

use crate::results::{Histogram, Output, Quantiles, histogram};

/// Of each file that is written.
const LOG_BYTES: u64 = 256 << 20;
const SIZES: [usize; 3] = [4 << 10, 64 << 10, 1 << 20];

/// What the blocks of a log look like before they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Log {
    /// The file grows with each append: fdatasync also commits the new size.
    Grow,
    /// fallocate beforehand: fdatasync still has to convert unwritten extents.
    Fallocate,
    /// Written with zeros beforehand: fdatasync writes data only.
    Overwrite,
}

/// What writing and syncing did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Synced {
    pub(crate) per_s: f64,
    pub(crate) flushes_per_sync: f64,
    pub(crate) latency_us: Quantiles,
}

pub(crate) fn run(output: &Output, dir: &Path, seconds: f64, reps: u32) -> Result<()> {
    let time = Duration::from_secs_f64(seconds);
    for rep in 0..reps {
        let disk = |log, size, threads| -> Result<()> {
            let synced = syncs(dir, log, size, threads, time)?;
            let record = json!({
                "log": log, "size": size, "threads": threads, "rep": rep,
                "per_s": synced.per_s, "bytes_per_s": synced.per_s * size as f64,
                "disk_flushes_per_sync": synced.flushes_per_sync, "latency_us": synced.latency_us,
            });
            output.emit("fdatasync", &record)
        };
        for log in [Log::Grow, Log::Fallocate, Log::Overwrite] {
            for size in SIZES {
                disk(log, size, 1)?;
            }
        }
        disk(Log::Overwrite, SIZES[0], 4)?;
        ping_pong(output, time, rep)?;
        memcpy(output, time, rep)?;
    }
    Ok(())
}

fn prepare(path: &Path, log: Log) -> Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true);
    let file = file.open(path)?;
    match log {
        Log::Grow => {}
        Log::Fallocate => fallocate(&file, FallocateFlags::empty(), 0, LOG_BYTES)?,
        Log::Overwrite => {
            let zeros = vec![0; 1 << 20];
            for at in (0..LOG_BYTES).step_by(zeros.len()) {
                file.write_all_at(&zeros, at)?;
            }
        }
    }
    file.sync_all()?;
    Ok(file)
}

/// Writes and syncs so many bytes at a time, by several threads with a file each.
pub(crate) fn syncs(
    dir: &Path,
    log: Log,
    size: usize,
    threads: usize,
    time: Duration,
) -> Result<Synced> {
    let path = |n| dir.join(format!("baton-compare-{}-{n}", std::process::id()));
    let files = (0..threads).map(|n| prepare(&path(n), log));
    let files = files.collect::<Result<Vec<_>>>()?;
    let flushes = || {
        Device::of(dir)
            .and_then(|d| d.flushes())
            .unwrap_or_default()
    };
    let flushed = flushes();
    let barrier = Barrier::new(threads);
    let results: Vec<_> = std::thread::scope(|scope| {
        let write = |file: File| {
            barrier.wait();
            append(&file, log, size, time)
        };
        let running = files
            .into_iter()
            .map(|file| scope.spawn(move || write(file)));
        let running: Vec<_> = running.collect();
        let done = running.into_iter().map(|thread| thread.join());
        done.map(|done| done.expect("a writer does not panic"))
            .collect()
    });
    let flushed = flushes().saturating_sub(flushed);
    (0..threads).try_for_each(|n| std::fs::remove_file(path(n)))?;
    let (mut all, mut longest) = (histogram(), Duration::ZERO);
    for result in results {
        let (latency, elapsed) = result?;
        all.add(latency)?;
        longest = longest.max(elapsed);
    }
    Ok(Synced {
        per_s: all.len() as f64 / longest.as_secs_f64(),
        flushes_per_sync: flushed as f64 / all.len() as f64,
        latency_us: Quantiles::from(&all),
    })
}

fn append(file: &File, log: Log, size: usize, time: Duration) -> Result<(Histogram, Duration)> {
    // Not compressible by anything simple.
    let block: Vec<u8> = (0..=250).cycle().step_by(31).take(size).collect();
    let mut latency = histogram();
    let start = Instant::now();
    let mut at = 0;
    while start.elapsed() < time {
        let begin = Instant::now();
        file.write_all_at(&block, at)?;
        file.sync_data()?;
        latency.saturating_record(nanos(begin.elapsed()));
        at += size as u64;
        if at + size as u64 > LOG_BYTES && log != Log::Grow {
            at = 0; // From here on `fallocate` is `overwrite`; only 1 MiB gets this far.
        }
    }
    Ok((latency, start.elapsed()))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// One byte there and back over loopback TCP, each end on a thread of its own.
fn ping_pong(output: &Output, time: Duration, rep: u32) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let echo = std::thread::spawn(move || echo(&listener));
    let latency = ping(address, time)?;
    echo.join().expect("the echo does not panic")?;
    let quantiles = Quantiles::from(&latency);
    let per_s = quantiles.n as f64 / time.as_secs_f64();
    let record = json!({ "rep": rep, "per_s": per_s, "latency_us": quantiles });
    output.emit("ping_pong", &record)
}

fn echo(listener: &TcpListener) -> Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

fn ping(address: SocketAddr, time: Duration) -> Result<Histogram> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let (mut byte, mut latency) = ([7], histogram());
    let start = Instant::now();
    while start.elapsed() < time {
        let begin = Instant::now();
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        latency.saturating_record(nanos(begin.elapsed()));
    }
    Ok(latency)
}

fn memcpy(output: &Output, time: Duration, rep: u32) -> Result<()> {
    const ALL: usize = 64 << 20;
    for size in [64 << 10, ALL] {
        let (from, mut to) = (vec![1u8; size], vec![0u8; size]);
        let (start, mut copied) = (Instant::now(), 0u64);
        while start.elapsed() < time / 2 {
            for _ in 0..ALL / size {
                to.copy_from_slice(std::hint::black_box(&from));
                std::hint::black_box(&mut to);
                copied += size as u64;
            }
        }
        let bytes_per_s = copied as f64 / start.elapsed().as_secs_f64();
        let record = json!({ "size": size, "rep": rep, "bytes_per_s": bytes_per_s });
        output.emit("memcpy", &record)?;
    }
    Ok(())
}
