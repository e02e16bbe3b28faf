//! What the kernel says of a process.

use std::fs;

/// Clock ticks of /proc/PID/stat a second; Linux has had this for all architectures for decades.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory of a process in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resident {
    pub(crate) now: u64,
    /// The most it has had.
    pub(crate) peak: u64,
}

pub(crate) fn resident(process: u32) -> Option<Resident> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(Resident {
        now: 1024 * field(&status, "VmRSS:")?,
        peak: 1024 * field(&status, "VmHWM:")?,
    })
}

/// Bytes that a process made the kernel write to a disk. The kernel counts a page when it is dirtied, so overwriting one
/// that was written before counts again, although it takes no more room.
pub(crate) fn written_bytes(process: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{process}/io")).ok()?;
    field(&io, "write_bytes:")
}

/// CPU seconds of a process so far.
pub(crate) fn cpu_seconds(process: u32) -> Option<f64> {
    cpu_of(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

fn cpu_of(stat: &str) -> Option<f64> {
    // The command's name may have spaces and parentheses in it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
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
        let stat = "7 (a) b c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_of(stat), Some(2.0));
        assert_eq!(cpu_of("7 (a"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let own = resident(std::process::id()).unwrap();
        assert!(own.now > 0 && own.peak >= own.now);
    }
}
