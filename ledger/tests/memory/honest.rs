//! One ledger, filled with one thing at a time: what it says is what was allocated, to half as much again either way.

use crate::busy::{Busy, HOUR, MS, SECOND, shared};
use crate::{allocated, alone};

/// What a ledger says that it took in, and what was allocated for that.
fn grown(busy: &mut Busy, fill: impl FnOnce(&mut Busy)) -> (usize, usize) {
    let (said, real) = (busy.ledger.bytes(), allocated());
    fill(busy);
    (busy.ledger.bytes() - said, allocated() - real)
}

#[track_caller]
fn assert_honest(
    finished_max: usize,
    prepare: impl FnOnce(&mut Busy),
    fill: impl FnOnce(&mut Busy),
) {
    let _alone = alone();
    let mut busy = Busy::new(&shared(1 << 40, finished_max));
    // Its histograms are there by then.
    busy.in_flight(1 << 40, 10, 1);
    busy.handled(1 << 40, 10);
    busy.ack(1 << 40, 10);
    busy.commit();
    prepare(&mut busy);
    let (said, real) = grown(&mut busy, fill);
    assert!(real > 100_000, "{real} bytes tell nothing");
    assert!(
        said * 2 <= real * 3 && real * 2 <= said * 3,
        "it says {said}, but takes {real}"
    );
}

#[test]
fn items_in_flight_by_batches() {
    let _turn = crate::turn();
    assert_honest(0, |_| {}, |busy| busy.in_flight(1, 256 * 200, 256));
}

#[test]
fn items_in_flight_one_by_one() {
    let _turn = crate::turn();
    assert_honest(0, |_| {}, |busy| busy.in_flight(1, 20_000, 1));
}

#[test]
fn items_in_flight_with_their_traces() {
    let _turn = crate::turn();
    for each in [1, 256] {
        let prepare = |busy: &mut Busy| busy.contexts = true;
        assert_honest(0, prepare, |busy| busy.in_flight(1, each * 2000, each));
    }
}

#[test]
fn few_items_that_are_left_of_many() {
    let _turn = crate::turn();
    let fill = |busy: &mut Busy| {
        for batch in 0..2000 {
            let first = 1 + batch * 256;
            busy.in_flight(first, 256, 256);
            busy.handled(first, 100);
            busy.ack(first, 100);
            busy.handled(first + 101, 155);
            busy.ack(first + 101, 155);
            busy.commit();
        }
    };
    let prepare = |busy: &mut Busy| busy.contexts = true;
    assert_honest(0, prepare, fill);
}

#[test]
fn items_that_waited_when_their_leases_were_cut_in_pieces() {
    let _turn = crate::turn();
    let fill = |busy: &mut Busy| {
        for first in (1..50_000).step_by(1000) {
            busy.in_flight(first, 1000, 1000);
            for place in (0..1000).step_by(4) {
                busy.ack(first + place, 1);
            }
            busy.commit();
        }
    };
    assert_honest(0, |_| {}, fill);
}

#[test]
fn finished_items() {
    let _turn = crate::turn();
    for each in [1_u32, 256] {
        let fill = |busy: &mut Busy| {
            for first in (1..20_000).step_by(each as usize) {
                busy.in_flight(first, u64::from(each), u64::from(each));
                busy.oldest = first;
                busy.handled(first, each);
                busy.ack(first, each);
                busy.commit();
            }
        };
        assert_honest(10_000, |busy| busy.contexts = true, fill);
    }
}

#[test]
fn attempts_of_items_that_go_on() {
    let _turn = crate::turn();
    let fill = |busy: &mut Busy| {
        for number in 1..=4 {
            busy.lease(1, 1000, number);
            busy.now += SECOND;
            busy.handled(1, 1000);
            busy.fail(1, 1000, false);
            busy.commit();
        }
    };
    assert_honest(0, |busy| busy.in_flight(1, 1000, 1000), fill);
}

#[test]
fn items_that_came_back_untouched() {
    let _turn = crate::turn();
    let fill = |busy: &mut Busy| busy.ledger.released(1, 20_000);
    let mut busy = {
        let _alone = alone();
        Busy::new(&shared(1 << 40, 0))
    };
    let _alone = alone();
    busy.in_flight(1, 20_000, 1000);
    let leased = busy.ledger.bytes();
    let real = allocated();
    fill(&mut busy);
    // The leases are gone, and a map is there instead.
    let (said, real) = (
        busy.ledger.bytes().cast_signed() - leased.cast_signed(),
        allocated().cast_signed() - real.cast_signed(),
    );
    assert!(
        said.abs_diff(real) * 3 < leased,
        "it says {said}, but takes {real}"
    );
}

#[test]
fn dead_letters_that_were_tried_often() {
    let _turn = crate::turn();
    let fill = |busy: &mut Busy| {
        for number in 1..=10 {
            busy.lease(1, 256, number);
            busy.now += SECOND;
            busy.fail(1, 256, number == 10);
            busy.commit();
        }
    };
    assert_honest(0, |_| {}, fill);
}

#[test]
fn the_slowest_of_a_day() {
    let _turn = crate::turn();
    let fill = |busy: &mut Busy| {
        for hour in 0..24 * 4 {
            let first = 1 + hour * 64;
            busy.arrive(first, 64);
            busy.lease(first, 64, 1);
            busy.commit();
            for item in first..first + 64 {
                busy.now += 1 + busy.random(100 * MS);
                busy.handled(item, 1);
                busy.ack(item, 1);
                busy.commit();
            }
            busy.oldest = first + 64;
            busy.now += HOUR / 4;
        }
    };
    assert_honest(0, |_| {}, fill);
}

#[test]
fn histograms_of_a_busy_day() {
    let _turn = crate::turn();
    let fill = |busy: &mut Busy| {
        for step in 0..24 * 60 * 3 {
            let first = 1 + step * 16;
            busy.arrive(first, 16);
            busy.now += 1 + busy.random(1 << (10 + step % 20));
            busy.lease(first, 16, 1);
            busy.commit();
            busy.now += 1 + busy.random(1 << (10 + step % 24));
            busy.handled(first, 16);
            busy.ack(first, 16);
            busy.commit();
            busy.oldest = first + 16;
            busy.now += 20 * SECOND;
        }
    };
    assert_honest(0, |_| {}, fill);
}

#[test]
fn what_is_not_durable_yet() {
    let _turn = crate::turn();
    let fill = |busy: &mut Busy| {
        for first in (1..30_000).step_by(3) {
            busy.arrive(first, 3);
            busy.lease(first, 3, 1);
            busy.handled(first, 3);
            busy.ack(first, 2);
            busy.end_turn();
        }
    };
    assert_honest(0, |_| {}, fill);
}

#[test]
fn items_that_wait() {
    let _turn = crate::turn();
    let fill = |busy: &mut Busy| {
        for item in 1..10_000 {
            busy.arrive(item, 1);
            busy.commit();
        }
    };
    assert_honest(0, |_| {}, fill);
}
