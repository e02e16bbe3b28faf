//! `baton-consumer`: shows the items of a queue, or runs a command for each.
//!
//! A shell: flags become a [`config::Config`], a [`job::Job`] is prepared, `consume` carries deliveries to it and
//! verdicts back, `report` says what happened.

mod args;
mod config;
mod consume;
mod event;
mod exec;
mod job;
mod preview;
mod report;
mod verdict;

use std::process::ExitCode;

use baton_client::program::{Explain, stages};
use baton_client::{Client, Consumer, Error};
use baton_telemetry::program::exit::Exit;
use baton_telemetry::program::launch::{Lasts, launch};
use baton_telemetry::program::output::complain;
use baton_telemetry::program::problems::Problems;
use clap::Parser;
use tokio_util::sync::CancellationToken;

use args::{Args, Task};
use config::Config;
use consume::Limits;
use job::Job;
use report::Report;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROGRAM: &str = "baton-consumer";

fn main() -> ExitCode {
    let mut args = Args::parse();
    match args.task() {
        Ok(Task::Consume(job)) => consume(Config::from_args(args, job)),
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

fn consume(config: Result<Config, Problems>) -> ExitCode {
    let config = match config {
        Ok(config) => config,
        Err(problems) => return refuse(problems, Exit::Configuration),
    };
    if let Err(error) = config.output.init_log() {
        return refuse(error, Exit::Configuration);
    }
    match Job::prepare(&config) {
        Ok(job) => launch(PROGRAM, config.lasts, |stop| traced(config, job, stop)),
        Err(problem) => refuse(problem, Exit::CommandNotFound),
    }
}

fn explain(explain: Result<Explain, Problems>) -> ExitCode {
    let explain = match explain {
        Ok(explain) => explain,
        Err(problems) => return refuse(problems, Exit::Configuration),
    };
    if let Err(error) = explain.output().init_log() {
        return refuse(error, Exit::Configuration);
    }
    launch(PROGRAM, Lasts::UntilDone, |stop| explain.run(stop))
}

fn refuse(problem: impl std::fmt::Display, exit: Exit) -> ExitCode {
    complain(PROGRAM, problem);
    exit.into()
}

async fn traced(config: Config, job: Job, stop: CancellationToken) -> Exit {
    let exports = match config.otel.start() {
        Ok(exports) => exports,
        Err(error) => {
            complain(PROGRAM, error);
            return Exit::Configuration;
        }
    };
    let exit = run(config, job, stop).await;
    exports.finish().await;
    exit
}

async fn run(config: Config, job: Job, stop: CancellationToken) -> Exit {
    let client = match connect(&config) {
        Ok(client) => client,
        Err(error) => {
            complain(PROGRAM, error);
            return Exit::Configuration;
        }
    };
    let mut report = Report::new(&config);
    let limits = Limits {
        concurrency: config.concurrency,
        count: config.count,
    };
    let consumer = open(&client, &config);
    let ending = consume::consume(consumer, &job, limits, &mut report, &stop).await;
    if let (true, Some(took)) = (ending.is_orderly(), report.worth_a_table()) {
        report.stages(stages::of_the_run(&client.queue(&config.queue), took).await);
    }
    if !ending.is_unread() {
        report.summary();
    }
    if let Some(problem) = ending.problem() {
        complain(PROGRAM, problem);
    }
    ending.exit()
}

fn connect(config: &Config) -> Result<Client, Error> {
    Client::builder(&config.broker)
        .service_name(config.otel.service_name())
        .give_up_after(config.give_up_after)
        .build()
}

fn open(client: &Client, config: &Config) -> Consumer {
    let consumer = client
        .consumer(&config.queue)
        .credit_items(config.credit_items)
        .credit_bytes(config.credit_bytes)
        .until_drained(config.until_drained);
    match config.lease {
        Some(lease) => consumer.lease_duration(lease).open(),
        None => consumer.open(),
    }
}
