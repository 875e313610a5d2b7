//! A correct saga in memory, for tests to break: the three handlers, run lane by lane in an order drawn from
//! a seed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU64;

use serde::Serialize;

use super::{Acknowledged, Terms};
use crate::event::{
    Account, Body, CAUSE, CORRELATION, Cancellation, Event, Handler, Message, Notice, Placement, Reading,
    Reason,
};
use crate::orders::{DISCONTINUED, LIMIT, Plan, Random};

/// A stream and what was acknowledged while it was filled.
pub(crate) struct Saga {
    pub(crate) messages: Vec<Message>,
    pub(crate) acknowledged: Vec<Acknowledged>,
}

impl Saga {
    /// The terms this saga was run under.
    pub(crate) fn terms(&self) -> Terms<'_> {
        Terms { stream: "SHOP", limit: LIMIT, discontinued: DISCONTINUED, acknowledged: &self.acknowledged }
    }
}

/// Runs a saga of a number of orders of a number of customers to its end.
pub(crate) fn saga(orders: u64, customers: u64, seed: u64) -> Saga {
    let mut world = World { random: Random(seed), ..World::default() };
    let plan = Plan { orders, customers: NonZeroU64::new(customers).unwrap(), seed };
    for order in plan.orders() {
        let subject = format!("order.placed.{}", order.customer);
        let sequence = world.append(&subject, &order.placement, None);
        world.acknowledged.push(Acknowledged { order, sequence });
    }
    while world.step() {}
    Saga { messages: world.messages, acknowledged: world.acknowledged }
}

#[derive(Default)]
struct World {
    random: Random,
    messages: Vec<Message>,
    acknowledged: Vec<Acknowledged>,
    lanes: BTreeMap<(Handler, String), VecDeque<Event>>,
    items: HashMap<String, String>,
    reserved: HashMap<String, BTreeMap<String, u64>>,
    notices: HashMap<String, u64>,
}

impl World {
    /// Stores a message and queues it for the handlers that react to it.
    fn append(&mut self, subject: &str, payload: &impl Serialize, cause: Option<&Event>) -> u64 {
        let sequence = self.messages.len() as u64 + 1;
        let mut headers = Vec::new();
        if let Some(cause) = cause {
            let id = format!("SHOP/{}", cause.sequence);
            headers.push((CORRELATION.to_owned(), cause.correlation.clone().unwrap_or_else(|| id.clone())));
            headers.push((CAUSE.to_owned(), id));
        }
        let payload = serde_json::to_vec(payload).unwrap();
        let message =
            Message { sequence, time: sequence * 1_000_000, subject: subject.to_owned(), headers, payload };
        let Reading::Event(event) = Event::read(&message) else {
            panic!("the model wrote an unreadable message")
        };
        for handler in readers(&event.body) {
            self.lanes.entry((*handler, event.customer.clone())).or_default().push_back(event.clone());
        }
        self.messages.push(message);
        sequence
    }

    /// Runs the next event of a lane drawn by lot; false when there is none left.
    fn step(&mut self) -> bool {
        let waiting: Vec<_> =
            self.lanes.iter().filter(|(_, lane)| !lane.is_empty()).map(|(key, _)| key).collect();
        let Some(key) = waiting.get(self.random.below(waiting.len() as u64) as usize) else { return false };
        let (handler, customer) = (*key).clone();
        let event = self.lanes.get_mut(&(handler, customer.clone())).and_then(VecDeque::pop_front).unwrap();
        match handler {
            Handler::Order => self.order(&event, &customer),
            Handler::Credit => self.credit(&event, &customer),
            Handler::Notify => self.notify(&event, &customer),
        }
        true
    }

    fn order(&mut self, event: &Event, customer: &str) {
        let order = event.order().to_owned();
        let amount = event.amount().unwrap();
        let reason = match &event.body {
            Body::Placed(placement) => {
                self.items.insert(order, placement.item.clone());
                self.append(&format!("order.created.{customer}"), placement, Some(event));
                return;
            }
            Body::Exceeded(_) => Reason::Credit,
            _ if self.items[&order] == DISCONTINUED => Reason::Discontinued,
            _ => {
                let item = self.items[&order].clone();
                self.append(
                    &format!("order.approved.{customer}"),
                    &Placement { order, item, amount },
                    Some(event),
                );
                return;
            }
        };
        self.append(
            &format!("order.cancelled.{customer}"),
            &Cancellation { order, amount, reason },
            Some(event),
        );
    }

    fn credit(&mut self, event: &Event, customer: &str) {
        let held = self.reserved.entry(customer.to_owned()).or_default();
        let (order, amount) = (event.order().to_owned(), event.amount().unwrap());
        let before = held.values().sum::<u64>();
        let (answer, reserved) = match &event.body {
            Body::Created(_) if before + amount > LIMIT => ("exceeded", before),
            Body::Created(_) => {
                held.insert(order.clone(), amount);
                ("reserved", before + amount)
            }
            _ => match held.remove(&order) {
                Some(amount) => ("released", before - amount),
                None => return,
            },
        };
        let account = Account { order, amount, reserved, limit: LIMIT };
        self.append(&format!("credit.{answer}.{customer}"), &account, Some(event));
    }

    fn notify(&mut self, event: &Event, customer: &str) {
        let written = self.notices.entry(customer.to_owned()).or_default();
        *written += 1;
        let order = event.order().to_owned();
        let notice = Notice { n: *written, line: format!("your order {order} has ended"), order };
        self.append(&format!("notice.sent.{customer}"), &notice, Some(event));
    }
}

fn readers(body: &Body) -> &'static [Handler] {
    match body {
        Body::Placed(_) | Body::Reserved(_) | Body::Exceeded(_) => &[Handler::Order],
        Body::Created(_) => &[Handler::Credit],
        Body::Approved(_) => &[Handler::Notify],
        Body::Cancelled(_) => &[Handler::Credit, Handler::Notify],
        Body::Released(_) | Body::Notice(_) => &[],
    }
}
