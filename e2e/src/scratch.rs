//! A directory for one test, on the disk that the build is on: gone with the value, unless the test failed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::processes::build_folder;

/// An empty directory.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

#[expect(
    clippy::new_without_default,
    reason = "it makes a directory, which is more than a default"
)]
impl Scratch {
    /// Not below /tmp, which may be memory, but in `target/tmp`, where cargo has its tests write.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let name = format!("e2e-{process}-{count}");
        let path = build_folder().with_file_name("tmp").join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a broker keeps its data; the broker makes it.
    pub fn data(&self) -> PathBuf {
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
