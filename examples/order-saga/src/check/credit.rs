//! Credit: each decision is the one that follows from what the customer had reserved at that point of the
//! stream.

use std::collections::HashMap;

use super::lives::Lives;
use super::{Fault, Rule, Terms};
use crate::event::{Account, Body, Event, Placement, Stage};

/// What a customer has reserved, by a model that reads what the handler reads and knows nothing of its
/// answers.
#[derive(Debug, Default)]
struct Model<'a> {
    reserved: u64,
    orders: HashMap<&'a str, u64>,
}

/// Replays `order.created` and `order.cancelled` of each customer and compares every answer with the model's.
pub(super) fn answers(events: &[Event], lives: &Lives<'_>, terms: &Terms<'_>, faults: &mut Vec<Fault>) {
    let mut customers: HashMap<&str, Model<'_>> = HashMap::new();
    for event in events {
        let model = customers.entry(&event.customer).or_default();
        let (stage, fits) = match &event.body {
            Body::Created(order) => (Stage::Decided, model.reserve(order, terms.limit)),
            Body::Cancelled(order) => {
                model.release(&order.order);
                (Stage::Released, true)
            }
            _ => continue,
        };
        if let Some(answer) = lives.first(event.order(), stage) {
            compare(answer, fits, model.reserved, terms.limit, faults);
        }
    }
}

impl<'a> Model<'a> {
    /// Reserves what an order costs if it fits within the limit.
    fn reserve(&mut self, order: &'a Placement, limit: u64) -> bool {
        let reserved = self.reserved.saturating_add(order.amount);
        let fits = reserved <= limit;
        if fits {
            self.reserved = reserved;
            self.orders.insert(&order.order, order.amount);
        }
        fits
    }

    fn release(&mut self, order: &str) {
        self.reserved -= self.orders.remove(order).unwrap_or(0);
    }
}

fn compare(answer: &Event, fits: bool, reserved: u64, limit: u64, faults: &mut Vec<Fault>) {
    let mut fault = |what: String| {
        let text = format!("order `{}` {what}", answer.order());
        faults.push(Fault::new(Rule::Credit, answer.sequence, text));
    };
    let account: &Account = match &answer.body {
        Body::Reserved(_) if !fits => return fault("was reserved, but exceeds the credit".to_owned()),
        Body::Exceeded(_) if fits => {
            return fault(format!("was refused, but comes to {reserved} of {limit}"));
        }
        Body::Reserved(account) | Body::Exceeded(account) | Body::Released(account) => account,
        _ => return,
    };
    if account.reserved != reserved {
        fault(format!("says that {} are reserved, but {reserved} are", account.reserved));
    }
    if account.limit != limit {
        fault(format!("says that the limit is {}, but it is {limit}", account.limit));
    }
}

/// Folds what was reserved and released: never above the limit, never below nothing.
pub(super) fn bounds(events: &[Event], terms: &Terms<'_>, faults: &mut Vec<Fault>) {
    let mut sums: HashMap<&str, i128> = HashMap::new();
    for event in events {
        let change = match &event.body {
            Body::Reserved(order) => i128::from(order.amount),
            Body::Released(order) => -i128::from(order.amount),
            _ => continue,
        };
        let sum = sums.entry(&event.customer).or_default();
        *sum += change;
        if *sum > i128::from(terms.limit) || *sum < 0 {
            let text = format!("customer `{}` has {sum} of {} reserved", event.customer, terms.limit);
            faults.push(Fault::new(Rule::Credit, event.sequence, text));
        }
    }
}
