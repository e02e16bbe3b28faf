//! The engine's command line.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Longer than anything takes but a build.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// How a command of the engine ended.
#[derive(Debug)]
pub(super) struct Ran {
    /// -1: a signal ended it.
    pub(super) code: i32,
    /// Stdout and stderr, one after the other.
    pub(super) output: String,
}

/// Runs it in the folder of docker-compose.yml, with these variables.
pub(super) async fn run(
    arguments: &[&str],
    variables: &[(&str, String)],
    patience: Duration,
) -> Ran {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut command = Command::new("docker");
    command
        .args(arguments)
        .current_dir(root)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .kill_on_drop(true);
    let output = timeout(patience, command.output()).await;
    let output =
        output.unwrap_or_else(|_| panic!("docker {arguments:?} takes longer than {patience:?}"));
    let output = output.expect("docker is there: see CONTRIBUTING.md");
    let text = [output.stdout, output.stderr].concat();
    Ran {
        code: output.status.code().unwrap_or(-1),
        output: String::from_utf8_lossy(&text).into_owned(),
    }
}

/// Runs what has to succeed, and returns what it said.
pub(super) async fn docker(arguments: &[&str]) -> String {
    let ran = run(arguments, &[], PATIENCE).await;
    assert_eq!(ran.code, 0, "docker {arguments:?}: {}", ran.output);
    ran.output.trim().to_owned()
}

/// What the engine knows of a container, such as `{{.State.ExitCode}}`.
pub(super) async fn inspect(container: &str, format: &str) -> String {
    docker(&["inspect", "--format", format, container]).await
}
