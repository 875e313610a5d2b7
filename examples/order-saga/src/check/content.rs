//! Content: what the events of an order say follows from the order and from the decision before.

use super::lives::{Life, Lives};
use super::{Fault, Rule, Terms};
use crate::event::{Body, Event, Placement, Reason, Stage};

/// Every event of an order repeats the order faithfully, and each order is settled as it must be.
pub(super) fn check(lives: &Lives<'_>, terms: &Terms<'_>, faults: &mut Vec<Fault>) {
    for life in lives.iter() {
        let Some(placed) = life.first(Stage::Placed) else { continue };
        let Body::Placed(placement) = &placed.body else { continue };
        for event in Stage::ALL.iter().filter_map(|stage| life.first(*stage)) {
            faithful(event, placed, placement, faults);
        }
        settled(life, placement, terms, faults);
    }
}

fn faithful(event: &Event, placed: &Event, placement: &Placement, faults: &mut Vec<Fault>) {
    let mut fault = |what: String| {
        let text = format!("{} of order `{}` has {what}", event.stage().subjects(), placement.order);
        faults.push(Fault::new(Rule::WrongContent, event.sequence, text));
    };
    if event.customer != placed.customer {
        fault(format!("customer `{}` in place of `{}`", event.customer, placed.customer));
    }
    if let Some(amount) = event.amount().filter(|amount| *amount != placement.amount) {
        fault(format!("amount {amount} in place of {}", placement.amount));
    }
    match &event.body {
        Body::Created(order) | Body::Approved(order) if order.item != placement.item => {
            fault(format!("item `{}` in place of `{}`", order.item, placement.item));
        }
        Body::Notice(notice) if notice.line.is_empty() => fault("an empty line".to_owned()),
        _ => {}
    }
}

/// Approved if and only if the credit was reserved and the item is still made; else cancelled for the right
/// reason.
fn settled(life: &Life<'_>, placement: &Placement, terms: &Terms<'_>, faults: &mut Vec<Fault>) {
    let (Some(decided), Some(settled)) = (life.first(Stage::Decided), life.first(Stage::Settled)) else {
        return;
    };
    let expected = match &decided.body {
        Body::Exceeded(_) => Some(Reason::Credit),
        _ if placement.item == terms.discontinued => Some(Reason::Discontinued),
        _ => None,
    };
    let found = match &settled.body {
        Body::Cancelled(cancelled) => Some(cancelled.reason),
        _ => None,
    };
    if found != expected {
        let text =
            format!("order `{}` was {}, but had to be {}", placement.order, ending(found), ending(expected));
        faults.push(Fault::new(Rule::WrongContent, settled.sequence, text));
    }
}

fn ending(reason: Option<Reason>) -> &'static str {
    match reason {
        None => "approved",
        Some(Reason::Credit) => "cancelled for its credit",
        Some(Reason::Discontinued) => "cancelled because the item is discontinued",
    }
}
