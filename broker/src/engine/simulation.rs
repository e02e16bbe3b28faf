//! The engine on a disk that lies, loses and fills up, with producers and consumers, on one thread and a clock of its own.
//!
//! Everything below the rpc layer is the real thing: queue actors, pending ledger, journal, recovery. A run is decided by
//! its seed alone, so that a failure can be repeated: `BATON_SIM_SEED=<seed> cargo test -p baton-broker one_seed`.
//! `make soak` runs thousands; see CONTRIBUTING.md.

mod broker;
mod consumer;
mod dice;
mod oracle;
mod producer;
mod world;

use self::world::World;

/// Runs in `make test`: some seconds of a debug build.
const SEEDS: u64 = 48;
/// Steps of a run before everything is settled.
const STEPS: u32 = 3000;

/// Runs one seed; the history of what clients and the disk saw.
fn run(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.settle();
    world.history
}

fn run_and_name(seed: u64) -> Vec<String> {
    let outcome = std::panic::catch_unwind(|| run(seed));
    outcome.unwrap_or_else(|panic| {
        eprintln!("seed {seed} failed; repeat it with BATON_SIM_SEED={seed} cargo test -p baton-broker one_seed");
        std::panic::resume_unwind(panic)
    })
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().expect("a number"))
}

// First by name: without it, no other failure could be repeated.
#[test]
fn a_seed_tells_the_same_history_each_time() {
    for seed in [1, 2, 3] {
        let (one, two) = (run_and_name(seed), run_and_name(seed));
        let differs = one.iter().zip(&two).position(|(one, two)| one != two);
        assert_eq!(differs, None, "of seed {seed}");
        assert_eq!(one.len(), two.len());
        assert!(one.len() > 100, "seed {seed} did next to nothing");
    }
}

#[test]
fn every_promise_holds_whatever_the_disk_does() {
    let first = number("BATON_SIM_FIRST").unwrap_or(100);
    let seeds = number("BATON_SIM_SEEDS").unwrap_or(SEEDS);
    for seed in first..first + seeds {
        run_and_name(seed);
    }
}

#[test]
fn one_seed() {
    if let Some(seed) = number("BATON_SIM_SEED") {
        let history = run_and_name(seed);
        history.iter().for_each(|line| println!("{line}"));
    }
}
