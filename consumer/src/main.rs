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

use baton_client::{Client, Consumer, Error};
use baton_telemetry::program::exit::Exit;
use baton_telemetry::program::launch::launch;
use baton_telemetry::program::output::complain;
use clap::Parser;
use tokio_util::sync::CancellationToken;

use args::Args;
use config::Config;
use consume::Limits;
use job::Job;
use report::Report;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROGRAM: &str = "baton-consumer";

fn main() -> ExitCode {
    let config = match Config::from_args(Args::parse()) {
        Ok(config) => config,
        Err(problems) => return refuse(problems, Exit::Configuration),
    };
    if let Err(error) = config.output.init_log() {
        return refuse(error, Exit::Configuration);
    }
    match Job::prepare(&config) {
        Ok(job) => launch(PROGRAM, |stop| run(config, job, stop)),
        Err(problem) => refuse(problem, Exit::CommandNotFound),
    }
}

fn refuse(problem: impl std::fmt::Display, exit: Exit) -> ExitCode {
    complain(PROGRAM, problem);
    exit.into()
}

async fn run(config: Config, job: Job, stop: CancellationToken) -> Exit {
    let consumer = match connect(&config) {
        Ok(consumer) => consumer,
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
    let ending = consume::consume(consumer, &job, limits, &mut report, &stop).await;
    if !ending.is_unread() {
        report.summary();
    }
    if let Some(problem) = ending.problem() {
        complain(PROGRAM, problem);
    }
    ending.exit()
}

fn connect(config: &Config) -> Result<Consumer, Error> {
    let client = Client::builder(&config.broker)
        .service_name(PROGRAM)
        .give_up_after(config.give_up_after)
        .build()?;
    let consumer = client
        .consumer(&config.queue)
        .credit_items(config.credit_items)
        .credit_bytes(config.credit_bytes)
        .until_drained(config.until_drained);
    Ok(match config.lease {
        Some(lease) => consumer.lease_duration(lease).open(),
        None => consumer.open(),
    })
}
