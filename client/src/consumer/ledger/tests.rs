use super::*;
use crate::settle::Nack;

fn ledger(credit_items: u32, credit_bytes: u64) -> Ledger {
    let mut ledger = Ledger::new(Options {
        credit_items,
        credit_bytes,
        lease_duration: None,
        disconnect_grace: None,
        until_drained: false,
    });
    ledger.restart();
    ledger
}

fn arrive(ledger: &mut Ledger, ids: std::ops::RangeInclusive<u64>, bytes: usize) {
    for delivery_id in ids {
        let mut delivery = Delivery {
            delivery_id,
            lease: Bytes::from(vec![1, 2]),
            item: Bytes::from(vec![0; bytes]),
            ..Delivery::default()
        };
        ledger.hold(&mut delivery);
    }
}

fn command(ledger: &Ledger, delivery: u64, action: Action) -> Command {
    Command {
        tag: Tag {
            session: ledger.session,
            delivery,
        },
        lease: Bytes::from(delivery.to_string()),
        action,
        stamps: None,
        reply: None,
        settlement: None,
    }
}

fn ack(ledger: &mut Ledger, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        let command = command(ledger, id, Action::Ack);
        ledger.queue(command);
    }
}

#[test]
fn the_whole_window_is_granted_first_and_settled_items_come_back_in_quarters() {
    let mut ledger = ledger(100, 10_000);
    let first = ledger.next_credit(0).unwrap();
    assert_eq!((first.items, first.bytes), (100, 10_000));
    arrive(&mut ledger, 1..=100, 10);
    assert!(ledger.next_credit(100).is_none());
    ack(&mut ledger, 1..=24);
    assert!(ledger.next_credit(76).is_none());
    ack(&mut ledger, 25..=25);
    let back = ledger.next_credit(75).unwrap();
    assert_eq!((back.items, back.bytes), (25, 250));
}

#[test]
fn a_user_who_is_about_to_run_out_gets_credit_at_once() {
    let mut ledger = ledger(100, 10_000);
    ledger.next_credit(0).unwrap();
    arrive(&mut ledger, 1..=100, 10);
    ack(&mut ledger, [7]);
    assert_eq!(ledger.next_credit(0).unwrap().items, 1);
}

#[test]
fn an_overdrawn_window_of_bytes_is_filled_up_once_there_is_room() {
    let mut ledger = ledger(100, 1000);
    ledger.next_credit(0).unwrap();
    arrive(&mut ledger, 1..=1, 5000);
    assert_eq!(ledger.credit_bytes, -4000);
    assert!(ledger.next_credit(0).is_none());
    ack(&mut ledger, [1]);
    let back = ledger.next_credit(0).unwrap();
    assert_eq!((back.items, back.bytes), (1, 5000));
}

#[test]
fn what_was_not_answered_is_asked_again_by_lease() {
    let mut ledger = ledger(10, 1000);
    ledger.next_credit(0).unwrap();
    arrive(&mut ledger, 1..=3, 1);
    ack(&mut ledger, [1, 2]);
    let batch = ledger.next_settle(1).unwrap();
    assert_eq!(batch.deliveries.len(), 1);
    ledger.restart();
    let extension = ledger.next_settle(1).unwrap();
    assert_eq!(extension.leases.len(), 1, "of the one still in hand");
    let again = ledger.next_settle(1).unwrap();
    assert!(again.deliveries.is_empty());
    let leases: Vec<_> = again.leases.iter().map(|l| l.lease.clone()).collect();
    assert_eq!(leases, ["1", "2"]);
    // One is in hand, so nine more may come.
    assert_eq!(ledger.next_credit(0).unwrap().items, 9);
}

#[test]
fn a_lost_lease_is_not_extended_again() {
    let mut ledger = ledger(10, 1000);
    arrive(&mut ledger, 1..=2, 1);
    ledger.extend_all();
    let settle_id = ledger.next_settle(1).unwrap().settle_id;
    let range = |id, outcome| baton_proto::opaque::SettledRange {
        first: id,
        last: id,
        outcome,
    };
    let answer = Answer {
        settle_id,
        deliveries: vec![range(1, 3), range(2, 1)],
        ..Answer::default()
    };
    ledger.answer(&answer).unwrap();
    ledger.extend_all();
    let again = ledger.next_settle(1).unwrap();
    assert_eq!(
        (again.deliveries[0].first, again.deliveries[0].last),
        (2, 2)
    );
}

#[test]
fn extensions_go_before_the_final_word() {
    let mut ledger = ledger(10, 1000);
    arrive(&mut ledger, 1..=1, 1);
    let extend = command(&ledger, 1, Action::Extend(Extend::default()));
    let nack = command(&ledger, 1, Nack::retry().into());
    ledger.queue(nack);
    ledger.queue(extend);
    let first = ledger.next_settle(1).unwrap();
    assert!(matches!(
        first.deliveries[0].action,
        Some(baton_proto::opaque::delivery_settle::Action::Extend(_))
    ));
}

#[test]
fn an_answer_to_nothing_is_a_breach_of_contract() {
    let mut ledger = ledger(10, 1000);
    let answer = Answer {
        settle_id: 9,
        ..Answer::default()
    };
    assert!(matches!(ledger.answer(&answer), Err(Error::Protocol(_))));
}

#[test]
fn a_users_extension_and_ours_of_one_delivery_go_in_two_messages() {
    let mut ledger = ledger(10, 1000);
    arrive(&mut ledger, 1..=2, 1);
    let (reply, _receiver) = tokio::sync::oneshot::channel();
    let mut extend = command(&ledger, 2, Action::Extend(Extend::default()));
    extend.reply = Some(reply);
    ledger.queue(extend);
    ledger.extend_all();
    let named = |batch: SettleBatch| -> Vec<u64> {
        let ranges = batch.deliveries.iter();
        ranges.flat_map(|range| range.first..=range.last).collect()
    };
    assert_eq!(named(ledger.next_settle(1).unwrap()), [1, 2]);
    assert_eq!(named(ledger.next_settle(1).unwrap()), [2]);
    assert!(ledger.next_settle(1).is_none());
}
