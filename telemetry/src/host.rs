//! Which machine this is, for OpenTelemetry's `host.id` and `host.name`.
//!
//! Invariant: processes that read one clock say one `host.id`. A trace's viewer corrects spans of different hosts by
//! guessing, or warns about them, and would do so to clocks that are the same. Pure reading; called once per process.

use std::fs;

use rustix::system::uname;

/// See machine-id(5).
const MACHINE_ID: &str = "/etc/machine-id";

/// The same in all containers of a kernel, where images leave the machine's id out.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The machine's id; where it has none, as in most containers, the id of the running kernel. None: neither can be read.
#[must_use]
pub fn id() -> Option<String> {
    [MACHINE_ID, BOOT_ID]
        .into_iter()
        .find_map(|path| usable(&fs::read_to_string(path).ok()?))
}

/// The machine's name. None: it has none.
#[must_use]
pub fn name() -> Option<String> {
    usable(&uname().nodename().to_string_lossy())
}

/// `uninitialized` stands in images that have not been started yet: all of them.
fn usable(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && text != "uninitialized").then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_id_and_a_name() {
        assert!(id().is_some() && id() == id());
        assert!(name().is_some());
    }

    #[test]
    fn an_image_that_was_never_started_has_no_id() {
        assert_eq!(usable("uninitialized\n"), None);
        assert_eq!(usable(" \n"), None);
        assert_eq!(usable("4f1a\n").as_deref(), Some("4f1a"));
    }
}
