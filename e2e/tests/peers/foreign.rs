//! A program that nobody here wrote, as a process that dies with its value. What it says is in a file, which a failed
//! test leaves.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use baton_e2e::processes::{PATIENCE, command};
use baton_e2e::scratch::Scratch;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

/// Where `make peers` puts it.
pub(crate) fn installed(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = root.join(".peers/bin").join(name);
    assert!(path.exists(), "{name} is absent: run `make peers`");
    path
}

#[derive(Debug)]
pub(crate) struct Foreign {
    name: &'static str,
    process: Child,
    log: PathBuf,
}

impl Foreign {
    /// Starts it with a scratch directory to work in.
    pub(crate) fn start(name: &'static str, scratch: &Scratch, arguments: &[String]) -> Self {
        let log = scratch.path().join(format!("{name}.log"));
        let file = File::options().append(true).create(true).open(&log);
        let said = file.unwrap();
        let process = command(installed(name))
            .args(arguments)
            .current_dir(scratch.path())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        Self { name, process, log }
    }

    /// Asks until it serves.
    pub(crate) async fn wait_until(&mut self, serves: impl AsyncFn() -> bool) {
        let ask = async {
            while !serves().await {
                if let Some(status) = self.process.try_wait().unwrap() {
                    return Err(status);
                }
                sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        let asked = timeout(PATIENCE, ask).await;
        if !matches!(asked, Ok(Ok(()))) {
            let said = std::fs::read_to_string(&self.log).unwrap();
            panic!("{} does not serve: {asked:?}: {said}", self.name);
        }
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }
}
