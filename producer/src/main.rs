//! `baton-producer`: publishes made-up or real items to a queue.
//!
//! A shell: flags become a [`config::Config`], a [`source::Source`] is opened, `publish` carries it to the broker and
//! `report` says what happened.

mod args;
mod config;
mod pace;
mod publish;
mod report;
mod source;

use std::process::ExitCode;

use baton_client::program::{Explain, stages};
use baton_client::{Client, Error, Producer};
use baton_telemetry::program::exit::Exit;
use baton_telemetry::program::launch::{Lasts, launch};
use baton_telemetry::program::otel;
use baton_telemetry::program::output::complain;
use baton_telemetry::program::problems::Problems;
use clap::Parser;
use opentelemetry::context::FutureExt as _;
use tokio_util::sync::CancellationToken;

use args::{Args, Task};
use config::Config;
use publish::Ending;
use report::Report;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROGRAM: &str = "baton-producer";

fn main() -> ExitCode {
    let mut args = Args::parse();
    match args.task() {
        Ok(Task::Publish(source)) => publish(Config::from_args(args, source)),
        Ok(Task::Explain { item_id }) => {
            let Args {
                queue,
                connection,
                output,
                ..
            } = args;
            let asked = (queue, item_id);
            explain(Explain::from_flags(PROGRAM, asked, connection, output))
        }
        Err(error) => error.exit(),
    }
}

fn publish(config: Result<Config, Problems>) -> ExitCode {
    let config = match config {
        Ok(config) => config,
        Err(problems) => return refuse(problems),
    };
    if let Err(error) = config.output.init_log() {
        return refuse(error);
    }
    let lasts = config.source.lasts();
    launch(PROGRAM, lasts, |stop| traced(config, stop))
}

fn explain(explain: Result<Explain, Problems>) -> ExitCode {
    let explain = match explain {
        Ok(explain) => explain,
        Err(problems) => return refuse(problems),
    };
    if let Err(error) = explain.output().init_log() {
        return refuse(error);
    }
    launch(PROGRAM, Lasts::UntilDone, |stop| explain.run(stop))
}

fn refuse(problem: impl std::fmt::Display) -> ExitCode {
    complain(PROGRAM, problem);
    Exit::Configuration.into()
}

/// Runs within the context that the program was started in.
async fn traced(config: Config, stop: CancellationToken) -> Exit {
    let exports = match config.otel.start() {
        Ok(exports) => exports,
        Err(error) => {
            complain(PROGRAM, error);
            return Exit::Configuration;
        }
    };
    let exit = run(config, stop).with_context(otel::ambient()).await;
    exports.finish().await;
    exit
}

async fn run(config: Config, stop: CancellationToken) -> Exit {
    let ((client, producer), (source, progress)) =
        match (connect(&config), source::open(&config.source).await) {
            (Ok(connected), Ok(source)) => (connected, source),
            (connected, source) => {
                connected.err().inspect(|error| complain(PROGRAM, error));
                source.err().inspect(|error| complain(PROGRAM, error));
                return Exit::Configuration;
            }
        };
    let mut report = Report::new(&config, progress);
    let ending = publish::publish(source, &producer, &config.stamp, &mut report, &stop).await;
    let ending = match ending {
        Ending::Complete if config.close && !stop.is_cancelled() => {
            let queue = client.queue(&config.queue);
            publish::close_queue(&producer, &queue).await
        }
        ending => ending,
    };
    let ending = match ending {
        Ending::Complete if config.join => publish::join(&producer, &mut report, &stop).await,
        ending => ending,
    };
    let closed = if ending.is_orderly() {
        producer.close().await
    } else {
        Ok(())
    };
    let ending = ending.and(closed);
    if let (true, Some(took)) = (ending.is_orderly(), report.worth_a_table()) {
        report.stages(stages::of_the_run(&client.queue(&config.queue), took).await);
    }
    finish(ending, report)
}

fn connect(config: &Config) -> Result<(Client, Producer), Error> {
    let client = Client::builder(&config.broker)
        .service_name(config.otel.service_name())
        .give_up_after(config.give_up_after)
        .build()?;
    let producer = client.producer(&config.queue);
    let producer = match &config.producer_id {
        Some(id) => producer.producer_id(id).open(),
        None => producer.open(),
    };
    Ok((client, producer))
}

fn finish(ending: Ending, mut report: Report) -> Exit {
    if !ending.is_unread() {
        report.summary();
    }
    if let Some(problem) = ending.problem() {
        complain(PROGRAM, problem);
    }
    ending.exit(report.refused())
}
