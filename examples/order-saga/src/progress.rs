//! How far each order has come, while waiting for all to end. Pure: it is shown events and answers questions.

use std::collections::{BTreeMap, HashMap};

use crate::check::Acknowledged;
use crate::event::{Body, Event, Stage};

/// How many names of unfinished orders are shown for each stage.
const SHOWN_NAMES: usize = 3;

/// The orders that are waited for and what was seen of each.
#[derive(Debug)]
pub struct Progress {
    orders: HashMap<String, Seen>,
    settled: usize,
    ended: usize,
}

/// What was seen of an order.
#[derive(Debug, Default)]
struct Seen {
    created: bool,
    /// Whether credit was reserved.
    decided: Option<bool>,
    /// Whether it was cancelled.
    settled: Option<bool>,
    released: bool,
    noticed: bool,
}

impl Progress {
    /// Waits for these orders.
    pub fn new(orders: &[Acknowledged]) -> Self {
        let orders =
            orders.iter().map(|entry| (entry.order.placement.order.clone(), Seen::default())).collect();
        Self { orders, settled: 0, ended: 0 }
    }

    /// Takes an event into account; true if it brought one of the orders further.
    pub fn observe(&mut self, event: &Event) -> bool {
        let Some(seen) = self.orders.get_mut(event.order()) else { return false };
        let (settled, ended) = (seen.settled.is_some(), seen.next().is_none());
        let further = seen.observe(&event.body);
        self.settled += usize::from(!settled && seen.settled.is_some());
        self.ended += usize::from(!ended && seen.next().is_none());
        further
    }

    /// How many orders were approved or cancelled.
    pub fn settled(&self) -> usize {
        self.settled
    }

    /// Whether every order has passed all its stages.
    pub fn is_done(&self) -> bool {
        self.ended >= self.orders.len()
    }

    /// What the unfinished orders wait for, for people.
    pub fn missing(&self) -> String {
        let mut waiting: BTreeMap<Stage, Vec<&str>> = BTreeMap::new();
        for (order, seen) in &self.orders {
            if let Some(stage) = seen.next() {
                waiting.entry(stage).or_default().push(order);
            }
        }
        let count: usize = waiting.values().map(Vec::len).sum();
        let mut text = format!("{count} of {} orders have not ended", self.orders.len());
        for (stage, mut orders) in waiting {
            orders.sort_unstable();
            let more = if orders.len() > SHOWN_NAMES { ", …" } else { "" };
            let names: Vec<_> = orders.iter().take(SHOWN_NAMES).copied().collect();
            let subjects = stage.subjects();
            text += &format!("\n  {} wait for {subjects} ({}{more})", orders.len(), names.join(", "));
        }
        text
    }
}

impl Seen {
    fn observe(&mut self, body: &Body) -> bool {
        match body {
            Body::Placed(_) => false,
            Body::Created(_) => !std::mem::replace(&mut self.created, true),
            Body::Reserved(_) => self.decided.replace(true).is_none(),
            Body::Exceeded(_) => self.decided.replace(false).is_none(),
            Body::Approved(_) => self.settled.replace(false).is_none(),
            Body::Cancelled(_) => self.settled.replace(true).is_none(),
            Body::Released(_) => !std::mem::replace(&mut self.released, true),
            Body::Notice(_) => !std::mem::replace(&mut self.noticed, true),
        }
    }

    /// The first stage that is still to come.
    fn next(&self) -> Option<Stage> {
        let owes_release = self.decided == Some(true) && self.settled == Some(true);
        match self {
            Self { created: false, .. } => Some(Stage::Created),
            Self { decided: None, .. } => Some(Stage::Decided),
            Self { settled: None, .. } => Some(Stage::Settled),
            Self { released: false, .. } if owes_release => Some(Stage::Released),
            Self { noticed: false, .. } => Some(Stage::Noticed),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::model::{Saga, saga};
    use crate::event::{Message, Reading};

    fn event(message: &Message) -> Event {
        match Event::read(message) {
            Reading::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    fn watch(saga: &Saga, messages: &[Message]) -> Progress {
        let mut progress = Progress::new(&saga.acknowledged);
        for message in messages {
            progress.observe(&event(message));
        }
        progress
    }

    #[test]
    fn done_with_the_last_event_and_not_before() {
        let saga = saga(100, 10, 2);
        let (_, all_but_last) = saga.messages.split_last().unwrap();
        assert!(!watch(&saga, all_but_last).is_done());
        let progress = watch(&saga, &saga.messages);
        assert!(progress.is_done());
        assert_eq!(progress.settled(), 100);
    }

    #[test]
    fn repeated_and_foreign_events_bring_nothing_further() {
        let ours = saga(100, 10, 2);
        let mut progress = watch(&ours, &ours.messages);
        assert!(ours.messages.iter().all(|message| !progress.observe(&event(message))));
        assert!(saga(10, 10, 3).messages.iter().all(|message| !progress.observe(&event(message))));
        assert_eq!(progress.settled(), 100);
    }

    #[test]
    fn what_is_missing_is_named_by_stage() {
        let mut saga = saga(100, 10, 2);
        let before: Vec<_> =
            saga.messages.drain(..).filter(|m| m.subject.starts_with("order.placed")).collect();
        let text = watch(&saga, &before).missing();
        assert!(
            text.starts_with(
                "100 of 100 orders have not ended\n  100 wait for order.created (o-2-1, o-2-10, "
            )
        );
    }
}
