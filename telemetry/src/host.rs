//! Which machine this is, for OpenTelemetry's `host.id` and `host.name`.
//!
//! Invariant: processes that read one clock say one `host.id`. A trace's viewer corrects spans of different hosts by
//! guessing, or warns about them, and would do so to clocks that are the same. So the id is the running kernel's, which all
//! of its containers share: the machine's own id, which OpenTelemetry would have there, is in some images and not in others,
//! or each image has another one. Whoever wants it sets it. Pure reading; called once per process.

use std::fs;

use rustix::system::uname;

/// The same in all containers of a kernel.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// See machine-id(5).
const MACHINE_ID: &str = "/etc/machine-id";

/// The id of the running kernel; where it hides that, the machine's. None: neither can be read.
#[must_use]
pub fn id() -> Option<String> {
    [BOOT_ID, MACHINE_ID]
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
        let boot_id = fs::read_to_string(BOOT_ID).unwrap();
        assert_eq!(id().as_deref(), Some(boot_id.trim()), "of all containers");
        assert!(name().is_some());
    }

    #[test]
    fn an_image_that_was_never_started_has_no_id() {
        assert_eq!(usable("uninitialized\n"), None);
        assert_eq!(usable(" \n"), None);
        assert_eq!(usable("4f1a\n").as_deref(), Some("4f1a"));
    }
}
