//! The checker is checked: each deliberate fault in a correct stream must turn it red, for the right reason.

use std::collections::BTreeSet;

use super::model::{Saga, saga};
use super::{Rule, check};
use crate::event::{CAUSE, CORRELATION, Cancellation, Message};

/// The rules that a saga breaks after a deliberate fault.
fn broken_by(break_it: impl FnOnce(&mut Saga)) -> BTreeSet<Rule> {
    let mut saga = saga(200, 20, 7);
    break_it(&mut saga);
    check(&saga.messages, &saga.terms()).faults.into_iter().map(|fault| fault.rule).collect()
}

/// The place of the `nth` message (from 0) whose subject begins so.
fn find(saga: &Saga, head: &str, nth: usize) -> usize {
    saga.messages.iter().enumerate().filter(|(_, m)| m.subject.starts_with(head)).nth(nth).unwrap().0
}

/// The places of the first two messages of one customer whose subjects begin so.
fn find_pair(saga: &Saga, head: &str) -> (usize, usize) {
    let customers = (1..=20).map(|customer| format!("{head}.c{customer}"));
    customers
        .filter_map(|subject| {
            let mut places =
                (0..saga.messages.len()).filter(|place| saga.messages[*place].subject == subject);
            Some((places.next()?, places.next()?))
        })
        .next()
        .unwrap()
}

/// Lets two messages change places, each with all it says but its sequence and time.
fn swap(saga: &mut Saga, (first, second): (usize, usize)) {
    saga.messages.swap(first, second);
    for place in [first, second] {
        saga.messages[place].sequence = place as u64 + 1;
    }
}

fn append_copy(saga: &mut Saga, place: usize) {
    let mut copy = saga.messages[place].clone();
    copy.sequence = saga.messages.len() as u64 + 1;
    saga.messages.push(copy);
}

fn set_header(message: &mut Message, name: &str, value: &str) {
    message.headers.iter_mut().find(|(n, _)| n == name).unwrap().1 = value.to_owned();
}

fn replace(saga: &mut Saga, head: &str, from: &str, to: &str) {
    let place = (0..saga.messages.len())
        .find(|place| {
            let message = &saga.messages[*place];
            message.subject.starts_with(head) && String::from_utf8_lossy(&message.payload).contains(from)
        })
        .unwrap();
    let text = String::from_utf8(saga.messages[place].payload.clone()).unwrap();
    saga.messages[place].payload = text.replacen(from, to, 1).into_bytes();
}

#[test]
fn correct_sagas_have_no_faults() {
    for seed in 0..30 {
        let saga = saga(150, 1 + seed % 25, seed);
        let report = check(&saga.messages, &saga.terms());
        assert_eq!(report.faults, [], "seed {seed}");
        assert_eq!(report.dead_letters, 0);
        assert_eq!(report.events.len(), saga.messages.len());
    }
}

#[test]
fn the_hosts_own_messages_are_no_faults() {
    let broken = broken_by(|saga| {
        append_copy(saga, 0);
        saga.messages.last_mut().unwrap().subject = "_heddle.shop.checkpoint.3".to_owned();
    });
    assert_eq!(broken, BTreeSet::new());
}

#[test]
fn a_lost_event_of_any_kind_is_found() {
    let heads = ["order.created", "credit.reserved", "credit.exceeded", "order.approved", "order.cancelled"];
    for head in heads.into_iter().chain(["credit.released", "notice.sent"]) {
        let broken = broken_by(|saga| {
            let place = find(saga, head, 0);
            saga.messages.remove(place);
        });
        assert!(broken.contains(&Rule::Lost), "{head}: {broken:?}");
    }
}

#[test]
fn an_acknowledged_order_that_is_gone_is_found() {
    let lost = broken_by(|saga| {
        saga.messages.remove(0);
    });
    assert!(lost.contains(&Rule::Lost), "{lost:?}");
    let moved = broken_by(|saga| saga.acknowledged[3].sequence += 1);
    assert_eq!(moved, BTreeSet::from([Rule::Lost]));
}

#[test]
fn an_order_that_ended_nowhere_is_found() {
    let broken = broken_by(|saga| saga.messages.retain(|m| m.subject.starts_with("order.placed")));
    assert_eq!(broken, BTreeSet::from([Rule::Lost]));
}

#[test]
fn a_repeated_event_of_any_kind_is_found() {
    let heads = ["order.placed", "order.created", "credit.reserved", "credit.exceeded", "order.approved"];
    for head in heads.into_iter().chain(["order.cancelled", "credit.released", "notice.sent"]) {
        let broken = broken_by(|saga| append_copy(saga, find(saga, head, 0)));
        assert!(broken.contains(&Rule::Duplicate), "{head}: {broken:?}");
    }
}

#[test]
fn an_order_both_approved_and_cancelled_is_found() {
    let broken = broken_by(|saga| {
        append_copy(saga, find(saga, "order.approved", 0));
        let last = saga.messages.last_mut().unwrap();
        last.subject = last.subject.replace("approved", "cancelled");
        last.payload.pop();
        last.payload.extend_from_slice(br#","reason":"credit"}"#);
    });
    assert!(broken.contains(&Rule::Duplicate), "{broken:?}");
}

#[test]
fn events_of_a_customer_out_of_order_are_found() {
    for head in ["order.created", "credit.reserved", "order.approved", "notice.sent"] {
        let broken = broken_by(|saga| swap(saga, find_pair(saga, head)));
        assert!(broken.contains(&Rule::Reorder), "{head}: {broken:?}");
    }
}

#[test]
fn events_of_two_customers_may_change_places() {
    let saga = saga(200, 20, 7);
    let notices: Vec<_> =
        (0..saga.messages.len()).filter(|p| saga.messages[*p].subject.starts_with("notice")).collect();
    let last = notices[notices.len() - 1];
    let subject = &saga.messages[last].subject;
    let other = *notices.iter().rev().find(|place| saga.messages[**place].subject != *subject).unwrap();
    let broken = broken_by(|saga| {
        let between = saga.messages.split_off(other);
        let (moved, rest) = between.split_first().unwrap();
        saga.messages.extend_from_slice(rest);
        saga.messages.push(Message { sequence: last as u64 + 2, ..moved.clone() });
    });
    assert_eq!(broken, BTreeSet::new());
}

#[test]
fn an_effect_before_its_cause_is_found() {
    let broken =
        broken_by(|saga| swap(saga, (find(saga, "order.placed.c", 150), find(saga, "notice.sent", 100))));
    assert!(broken.contains(&Rule::Phantom), "{broken:?}");
}

#[test]
fn an_effect_of_an_order_nobody_placed_is_found() {
    let broken = broken_by(|saga| replace(saga, "notice.sent", "\"o-7-", "\"o-8-"));
    assert!(broken.contains(&Rule::Phantom), "{broken:?}");
}

#[test]
fn a_release_of_credit_that_was_never_reserved_is_found() {
    let broken = broken_by(|saga| {
        append_copy(saga, find(saga, "credit.exceeded", 0));
        let last = saga.messages.last_mut().unwrap();
        last.subject = last.subject.replace("exceeded", "released");
    });
    assert!(broken.contains(&Rule::Phantom), "{broken:?}");
}

#[test]
fn a_wrong_or_missing_header_is_found() {
    for header in [CAUSE, CORRELATION] {
        for head in ["order.created", "credit.reserved", "order.cancelled", "credit.released", "notice.sent"]
        {
            let wrong = broken_by(|saga| {
                let place = find(saga, head, 2);
                set_header(&mut saga.messages[place], header, "SHOP/199");
            });
            assert_eq!(wrong, BTreeSet::from([Rule::WrongCause]), "{header} of {head}");
            let missing = broken_by(|saga| {
                let place = find(saga, head, 2);
                saga.messages[place].headers.retain(|(name, _)| name != header);
            });
            assert_eq!(missing, BTreeSet::from([Rule::WrongCause]), "{header} of {head}");
        }
    }
}

#[test]
fn a_cause_in_another_stream_is_found() {
    let broken = broken_by(|saga| {
        let place = find(saga, "order.created", 0);
        let cause = saga.messages[place].header(CAUSE).unwrap().replace("SHOP", "SHOPS");
        set_header(&mut saga.messages[place], CAUSE, &cause);
    });
    assert_eq!(broken, BTreeSet::from([Rule::WrongCause]));
}

#[test]
fn a_wrong_sum_is_found() {
    for head in ["credit.reserved", "credit.exceeded", "credit.released"] {
        for sum in ["\"reserved\":", "\"limit\":"] {
            let broken = broken_by(|saga| replace(saga, head, sum, &format!("{sum}1")));
            assert_eq!(broken, BTreeSet::from([Rule::Credit]), "{sum} of {head}");
        }
    }
}

#[test]
fn a_wrong_credit_decision_is_found() {
    let reserved = broken_by(|saga| {
        let place = find(saga, "credit.exceeded", 0);
        saga.messages[place].subject = saga.messages[place].subject.replace("exceeded", "reserved");
    });
    assert!(reserved.contains(&Rule::Credit), "{reserved:?}");
    let exceeded = broken_by(|saga| {
        let place = find(saga, "credit.reserved", 0);
        saga.messages[place].subject = saga.messages[place].subject.replace("reserved", "exceeded");
    });
    assert!(exceeded.contains(&Rule::Credit), "{exceeded:?}");
}

#[test]
fn a_wrong_settlement_is_found() {
    let reason = broken_by(|saga| replace(saga, "order.cancelled", "\"discontinued\"", "\"credit\""));
    assert_eq!(reason, BTreeSet::from([Rule::WrongContent]));
    let approved = broken_by(|saga| {
        let place = find(saga, "order.cancelled", 0);
        let order = serde_json::from_slice::<Cancellation>(&saga.messages[place].payload).unwrap().order;
        let placed = saga.acknowledged.iter().find(|entry| entry.order.placement.order == order).unwrap();
        let payload = serde_json::to_vec(&placed.order.placement).unwrap();
        let message = &mut saga.messages[place];
        (message.subject, message.payload) = (message.subject.replace("cancelled", "approved"), payload);
    });
    assert!(approved.contains(&Rule::WrongContent), "{approved:?}");
}

#[test]
fn an_event_that_garbles_its_order_is_found() {
    let amount = broken_by(|saga| replace(saga, "order.approved", "\"amount\":", "\"amount\":1"));
    assert_eq!(amount, BTreeSet::from([Rule::WrongContent]));
    for head in ["order.created", "order.approved"] {
        let item = broken_by(|saga| replace(saga, head, "\"item\":\"", "\"item\":\"x"));
        assert_eq!(item, BTreeSet::from([Rule::WrongContent]), "{head}");
    }
    let customer = broken_by(|saga| {
        let place = find(saga, "order.approved", 0);
        saga.messages[place].subject.push('0');
    });
    assert!(customer.contains(&Rule::WrongContent), "{customer:?}");
}

#[test]
fn a_gap_in_the_notices_is_found() {
    let broken = broken_by(|saga| replace(saga, "notice.sent", "\"n\":2", "\"n\":3"));
    assert_eq!(broken, BTreeSet::from([Rule::Notice]));
}

#[test]
fn dead_letters_and_strangers_are_found() {
    let dead = broken_by(|saga| {
        append_copy(saga, 0);
        saga.messages.last_mut().unwrap().subject = "dead.shop.order.order.placed.c1".to_owned();
    });
    assert_eq!(dead, BTreeSet::from([Rule::DeadLetter]));
    for (subject, payload) in
        [("order.lost.c1", "{}"), ("order.created.c1", "no json"), ("order.approved.c1", "{}")]
    {
        let strange = broken_by(|saga| {
            append_copy(saga, 0);
            let last = saga.messages.last_mut().unwrap();
            (last.subject, last.payload) = (subject.to_owned(), payload.as_bytes().to_vec());
        });
        assert_eq!(strange, BTreeSet::from([Rule::Unreadable]), "{subject}");
    }
}
