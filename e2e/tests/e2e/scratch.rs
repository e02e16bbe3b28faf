//! A directory for one test, on the disk that the build is on: gone with the value, unless the test failed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Not below /tmp, which may be memory.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("e2e-{process}-{count}"));
        std::fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a broker keeps its data; the broker makes it.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what the test left is in {}", self.path.display());
        } else {
            // A broker that is just being killed may still write there; then some of it stays in the target folder.
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}
