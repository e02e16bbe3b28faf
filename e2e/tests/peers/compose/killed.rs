//! kill -9 of whatever is there, at random, under load.

use std::time::Duration;

use baton_e2e::dice::{Dice, any_seed, number};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::docker::{docker, inspect};
use super::stack::Stack;

const KILLS: u64 = 10;

/// `BATON_KILLS` and `BATON_KILL_SEED` as for the kill test of the programs alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_that_are_killed_at_random_lose_nothing() {
    let seed = number("BATON_KILL_SEED").unwrap_or_else(any_seed);
    let kills = number("BATON_KILLS").unwrap_or(KILLS);
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let stack = Stack::up(2, 2).await;
    let containers = stack.all_containers().await;
    for round in 0..kills {
        sleep(dice.milliseconds(200, 1000)).await;
        // The broker every other time: it has the most to lose.
        let victim = match round % 2 {
            0 => stack.broker(),
            _ => containers[usize::try_from(dice.below(containers.len() as u64)).unwrap()].clone(),
        };
        docker(&["kill", "--signal", "KILL", &victim]).await;
        println!("killed {victim} at {:?}", stack.counts());
        sleep(dice.milliseconds(0, 2500)).await;
        docker(&["start", &victim]).await;
        stack.goes_on().await;
    }
    stack.every_repeat_is_explained().await;
    let counts = stack.ends_well().await;
    println!("{kills} kills: {counts:?}");
}

/// `docker kill` counts as being stopped on purpose; a crash does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_crashes_is_started_again() {
    let stack = Stack::up(1, 1).await;
    for container in stack.all_containers().await {
        let id = inspect(&container, "{{.State.Pid}}").await;
        let id = Pid::from_raw(id.parse().unwrap()).unwrap();
        kill_process(id, Signal::KILL).unwrap();
        let restarted = async {
            while inspect(&container, "{{.RestartCount}}").await == "0" {
                sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(super::docker::PATIENCE, restarted)
            .await
            .unwrap_or_else(|_| panic!("{container} stays down"));
        stack.goes_on().await;
    }
    stack.ends_well().await;
}
