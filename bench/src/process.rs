//! What the kernel says of a process.

use std::fs;

/// Clock ticks of /proc/PID/stat and /proc/stat a second; Linux has had this for all architectures for decades.
pub const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory of a process in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resident {
    /// It has.
    pub now: u64,
    /// The most it has had.
    pub peak: u64,
}

/// None: there is no such process.
pub fn resident(process: u32) -> Option<Resident> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(Resident {
        now: 1024 * field(&status, "VmRSS:")?,
        peak: 1024 * field(&status, "VmHWM:")?,
    })
}

/// Bytes that a process made the kernel write to a disk. The kernel counts a page when it is dirtied, so overwriting one
/// that was written before counts again, although it takes no more room.
pub fn written_bytes(process: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{process}/io")).ok()?;
    field(&io, "write_bytes:")
}

/// CPU seconds of a process so far.
pub fn cpu_seconds(process: u32) -> Option<f64> {
    cpu_of(
        &fs::read_to_string(format!("/proc/{process}/stat")).ok()?,
        2,
    )
}

/// CPU seconds of a process, of its children that have ended, and of those that live: some servers fork to rewrite their logs.
pub fn family_cpu_seconds(process: u32) -> Option<f64> {
    let own = cpu_of(
        &fs::read_to_string(format!("/proc/{process}/stat")).ok()?,
        4,
    )?;
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children = children.unwrap_or_default();
    let living = children.split_whitespace();
    // One that has ended meanwhile counts next time, among those that have.
    let living = living.filter_map(|child| family_cpu_seconds(child.parse().ok()?));
    Some(own + living.sum::<f64>())
}

/// Lets the kernel forget the most memory that a process has had.
///
/// # Errors
/// There is no such process, or it is somebody else's.
pub fn forget_peak(process: u32) -> std::io::Result<()> {
    fs::write(format!("/proc/{process}/clear_refs"), "5")
}

fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

/// The first of: user's, system's, and those of children that have ended.
fn cpu_of(stat: &str, fields: usize) -> Option<f64> {
    // The command's name may have spaces and parentheses in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks = rest.split_whitespace().skip(11).take(fields);
    let ticks = ticks.map(|ticks| ticks.parse::<f64>().ok());
    let ticks = ticks.collect::<Option<Vec<_>>>()?;
    (ticks.len() == fields).then(|| ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_their_names() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(field(status, "VmRSS:"), Some(1024));
        let io = "wchar: 5\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n";
        assert_eq!(field(io, "write_bytes:"), Some(4096));
        assert_eq!(field(io, "VmRSS:"), None);
    }

    #[test]
    fn cpu_is_read_behind_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a) b c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 30 70 20 0 1 0 5 6 7";
        assert_eq!(cpu_of(stat, 2), Some(2.0));
        assert_eq!(cpu_of(stat, 4), Some(3.0));
        assert_eq!(cpu_of("7 (a", 2), None);
        assert_eq!(cpu_of("7 (a) S 1", 2), None);
    }

    #[test]
    fn this_process_has_memory() {
        let own = resident(std::process::id()).unwrap();
        assert!(own.now > 0 && own.peak >= own.now);
    }
}
