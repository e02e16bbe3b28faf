//! The ledger against a naive model of it: one record for each item, every sum made by adding up single items.
//!
//! After every operation the two must agree on each stage's histogram (count and sum), each item that ended has to explain itself part
//! by part as the model does, and each that has not has to account for all of its time so far.

mod check;
mod commits;
mod drive;
mod model;
mod ops;

use proptest::prelude::*;

use crate::drive::Harness;
use crate::ops::Op;

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_ledger_agrees_with_a_naive_model(ops in proptest::collection::vec(Op::any(), 1..200)) {
        let mut harness = Harness::new();
        for op in &ops {
            harness.run(op);
            check::everything(&mut harness);
        }
        harness.finish();
        check::everything(&mut harness);
    }
}
