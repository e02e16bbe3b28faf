//! The metrics of the process, under the names that all of Prometheus' clients give them. Read from /proc once a scrape: some
//! 50 µs; what cannot be read is left out.

use std::fs;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::family::{Family, Value};

/// What there is to say. `uptime`: since the broker began.
pub(super) fn families(uptime: Duration) -> Vec<Family> {
    let up = Family::gauge("baton_uptime_seconds", "Time since the broker began");
    let mut families = vec![up.of(Value::Real(uptime.as_secs_f64()))];
    if let Some(stat) = fs::read_to_string("/proc/self/stat")
        .ok()
        .as_deref()
        .and_then(Stat::read)
    {
        families.extend(of_stat(&stat));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        let fds = Family::gauge("process_open_fds", "File descriptors that are open");
        families.push(fds.of(Value::Whole(open.count() as u64)));
    }
    if let Some(max) = getrlimit(Resource::Nofile).current {
        let fds = Family::gauge("process_max_fds", "File descriptors that there may be");
        families.push(fds.of(Value::Whole(max)));
    }
    families
}

/// Of proc(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// In the process and in the kernel for it, in ticks.
    cpu_ticks: u64,
    threads: u64,
    /// Since the machine began, in ticks.
    started_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn read(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, which may hold anything.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // Numbered from 1 in proc(5), where the first of these is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            started_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn of_stat(stat: &Stat) -> Vec<Family> {
    let seconds = |ticks: u64| ticks as f64 / clock_ticks_per_second() as f64;
    let resident = stat.resident_pages * page_size() as u64;
    let mut families = vec![
        Family::counter(
            "process_cpu_seconds_total",
            "Time of all processors together",
        )
        .of(Value::Real(seconds(stat.cpu_ticks))),
        Family::gauge("process_resident_memory_bytes", "Memory that is in use")
            .of(Value::Whole(resident)),
        Family::gauge("process_virtual_memory_bytes", "Memory that is mapped")
            .of(Value::Whole(stat.virtual_bytes)),
        Family::gauge("process_threads", "Threads").of(Value::Whole(stat.threads)),
    ];
    if let Some(booted) = booted() {
        let started = booted as f64 + seconds(stat.started_ticks);
        let family = Family::gauge(
            "process_start_time_seconds",
            "When the process began, since the Unix epoch",
        );
        families.push(family.of(Value::Real(started)));
    }
    families
}

/// When the machine began, in seconds since the Unix epoch.
fn booted() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_behind_the_name() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 30 0 0 20 0 9 0 12345 1048576 300 18446744073709551615 1";
        let expected = Stat {
            cpu_ticks: 280,
            threads: 9,
            started_ticks: 12345,
            virtual_bytes: 1_048_576,
            resident_pages: 300,
        };
        assert_eq!(Stat::read(text), Some(expected));
        assert_eq!(Stat::read("7 (a) S 1"), None);
        assert_eq!(Stat::read(""), None);
    }
}
