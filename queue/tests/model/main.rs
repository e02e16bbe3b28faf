//! The queue against a naive model of it: one record for each item, every question answered by looking at all of them.
//!
//! After every operation the two must agree on everything that can be asked, and a second queue that only ever sees the
//! events must be equal to the first, and a third one that sees them after they were bytes; now and then the first is
//! replaced by what a snapshot of it gives. The model learns one thing from the queue: the jitter of back-offs, whose bounds it
//! checks. (Which is why this is no `proptest-state-machine`: its reference never sees the system under test.)

mod check;
mod drive;
mod model;
mod ops;
mod store;

use proptest::prelude::*;

use crate::drive::Harness;
use crate::ops::{Op, Setup};

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_queue_agrees_with_a_naive_model(
        setup in Setup::any(),
        ops in proptest::collection::vec(Op::any(), 1..120),
    ) {
        let mut harness = Harness::new(&setup);
        for op in &ops {
            harness.run(op);
            check::everything(&harness);
            harness.remember_attempts();
        }
    }
}
