//! `baton-broker`: reads its configuration, serves, drains on SIGTERM and SIGINT; or does what a subcommand says instead.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use baton_broker::config::{self, Command, Config};
use baton_broker::{Broker, Running, health, offline};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

/// sysexits.h: the command was used wrongly.
const EX_USAGE: u8 = 64;
/// sysexits.h: the disk failed.
const EX_IOERR: u8 = 74;
/// What a journal gets to be closed after all, where the grace was not enough.
const SLOW_DISK: Duration = Duration::from_secs(5);
/// Enough for answers to leave, and for a health check to look.
const FAILED_GRACE: Duration = Duration::from_secs(1);

// 30-50 % less CPU than glibc's in a prototype of this path, see docs/BROKER.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = match config::from_process() {
        Ok(Command::Serve(config)) => *config,
        Ok(Command::Offline(task)) => return ended(&offline::run(&task)),
        Ok(Command::Health(http)) => return ask_health(http),
        Err(config::Stop::Asked(text)) => return print(&text, ExitCode::SUCCESS),
        Err(config::Stop::Usage(text)) => return print(&text, ExitCode::from(EX_USAGE)),
    };
    if let Err(error) = baton_telemetry::logging::init(config.log_format, Some(&config.log)) {
        return print(
            &format!("error: --log {:?}: {error}\n", config.log),
            ExitCode::from(EX_USAGE),
        );
    }
    config::raise_file_limit();
    config::refuse_huge_pages();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "cannot start threads");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(config));
    // A look-up of the collector's name cannot be cancelled: its thread would keep the process for as long as it takes.
    if code == ExitCode::SUCCESS {
        runtime.shutdown_background();
    } else {
        runtime.shutdown_timeout(SLOW_DISK);
    }
    code
}

async fn run(config: Config) -> ExitCode {
    let grace = config.grace;
    let broker = match Broker::start(config).await {
        Ok(broker) => broker,
        Err(error) => {
            error!(%error, "broker did not start");
            return ExitCode::FAILURE;
        }
    };
    serve(broker, grace).await
}

/// Serves until the first signal, then drains; a second signal ends it at once. So does a disk that fails, after those who
/// wait were told.
async fn serve(broker: Running, grace: Duration) -> ExitCode {
    /// Items were in hand when the grace was over.
    const UNFINISHED: u8 = 75;
    let (mut terminate, mut interrupt) = match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => {
            error!(%error, "cannot listen for signals");
            return ExitCode::FAILURE;
        }
    };
    tokio::select! {
        _ = terminate.recv() => info!("got SIGTERM"),
        _ = interrupt.recv() => info!("got SIGINT"),
        () = broker.failed() => {
            broker.shutdown(FAILED_GRACE).await;
            error!("stopped because the disk failed; what was confirmed is safe, start the broker again");
            return ExitCode::from(EX_IOERR);
        }
    }
    let finished = tokio::select! {
        finished = broker.shutdown(grace) => finished,
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
    };
    if finished {
        return ExitCode::SUCCESS;
    }
    warn!("stopped with items in hand");
    ExitCode::from(UNFINISHED)
}

fn ask_health(http: SocketAddr) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return print(
                &format!("error: cannot start: {error}\n"),
                ExitCode::FAILURE,
            );
        }
    };
    let health = runtime.block_on(health::ask(http));
    let code = if health.ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    print(&health.text, code)
}

fn ended(outcome: &offline::Outcome) -> ExitCode {
    let code = match outcome.verdict {
        offline::Verdict::Sound => ExitCode::SUCCESS,
        offline::Verdict::Unsound => ExitCode::FAILURE,
        offline::Verdict::Usage => ExitCode::from(EX_USAGE),
    };
    if outcome.is_report {
        print(&outcome.text, ExitCode::SUCCESS);
        return code;
    }
    print(&outcome.text, code)
}

/// The only output that is no log: what the command line asked for, and what is wrong with it.
fn print(text: &str, code: ExitCode) -> ExitCode {
    use std::io::Write as _;
    let written = if code == ExitCode::SUCCESS {
        std::io::stdout().write_all(text.as_bytes())
    } else {
        std::io::stderr().write_all(text.as_bytes())
    };
    // Nobody is left to tell.
    drop(written);
    code
}
