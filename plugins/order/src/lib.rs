//! Leads an order from placed to approved or cancelled.
//!
//! It asks no one to do anything. It says that an order was created; whoever lends credit says whether it is
//! reserved; then it says how the order ended.
//!
//! | on | publishes |
//! |---|---|
//! | `order.placed.<customer>` | `order.created.<customer>` |
//! | `credit.reserved.<customer>` | `order.approved.<customer>`, or `order.cancelled.<customer>` if the item is discontinued |
//! | `credit.exceeded.<customer>` | `order.cancelled.<customer>` |
//!
//! The key is the customer: `{subject.2}`. The state is the orders that wait for an answer about credit. A
//! settled order leaves it, so the state does not grow with time, and a second answer about an order finds
//! none.
//!
//! Config: `discontinued`, the items that are no longer sold, with commas in between.

use std::num::NonZeroU64;

use heddle_sdk::{Event, Failure, Verdict, config, log, publish, state};
use serde::{Deserialize, Serialize};

#[derive(Deserialize, Serialize)]
struct Order {
    order: String,
    item: String,
    amount: NonZeroU64,
}

#[derive(Deserialize)]
struct CreditAnswer {
    order: String,
}

#[derive(Serialize)]
struct Cancelled {
    order: String,
    amount: NonZeroU64,
    reason: Reason,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Reason {
    Credit,
    Discontinued,
}

/// Handles one event of a customer.
///
/// # Errors
/// Rejects what it cannot read, an order that is open already, and an answer about an order that is not open.
pub fn handle(event: &Event) -> Verdict {
    match (event.token(0), event.token(1)) {
        (Some("order"), Some("placed")) => create(event),
        (Some("credit"), Some("reserved")) => {
            let order = close(event)?;
            if is_discontinued(&order.item) {
                cancel(event, order, Reason::Discontinued)
            } else {
                approve(event, &order)
            }
        }
        (Some("credit"), Some("exceeded")) => cancel(event, close(event)?, Reason::Credit),
        _ => Err(Failure::reject(format!("`{}` is no event of an order", event.subject()))),
    }
}

heddle_sdk::handler!(handle);

fn create(event: &Event) -> Verdict {
    let placed: Order = event.json()?;
    let mut open: Vec<Order> = state::get()?.unwrap_or_default();
    if open.iter().any(|known| known.order == placed.order) {
        return Err(Failure::reject(format!("order `{}` is open already", placed.order)));
    }
    publish(format!("order.created.{}", event.key()), &placed)?;
    open.push(placed);
    state::set(&open)?;
    Ok(())
}

/// Takes the order that the answer is about from the open ones.
fn close(event: &Event) -> Result<Order, Failure> {
    let CreditAnswer { order } = event.json()?;
    let mut open: Vec<Order> = state::get()?.unwrap_or_default();
    let Some(place) = open.iter().position(|known| known.order == order) else {
        return Err(Failure::reject(format!("order `{order}` is not open")));
    };
    let order = open.remove(place);
    if open.is_empty() {
        state::clear()
    } else {
        state::set(&open)?
    }
    Ok(order)
}

fn approve(event: &Event, order: &Order) -> Verdict {
    log::info!("order `{}` is approved", order.order);
    publish(format!("order.approved.{}", event.key()), order)?;
    Ok(())
}

fn cancel(event: &Event, Order { order, amount, .. }: Order, reason: Reason) -> Verdict {
    log::info!("order `{order}` is cancelled");
    publish(format!("order.cancelled.{}", event.key()), &Cancelled { order, amount, reason })?;
    Ok(())
}

fn is_discontinued(item: &str) -> bool {
    let items = config::get("discontinued").unwrap_or_default();
    items.split(',').any(|discontinued| discontinued.trim() == item)
}

#[cfg(test)]
mod tests {
    use heddle_sdk::testing::{self, TestEvent, TestHandler};
    use serde_json::{Value, json};

    use super::*;

    fn order() -> TestHandler<impl Fn(&Event) -> Verdict> {
        testing::handler(handle)
            .key("{subject.2}")
            .publishes(["order.created.*", "order.approved.*", "order.cancelled.*"])
            .config("discontinued", "spindle, distaff")
    }

    fn placed(order: &str, item: &str) -> TestEvent {
        testing::event("order.placed.c1").json(&json!({"order": order, "item": item, "amount": 120}))
    }

    fn credit(answer: &str, order: &str) -> TestEvent {
        let payload = json!({"order": order, "amount": 120, "reserved": 120, "limit": 1000});
        testing::event(format!("credit.{answer}.c1")).json(&payload)
    }

    #[test]
    fn a_placed_order_is_created_and_waits() {
        let mut handler = order();
        let run = handler.run(placed("o-1", "loom"));
        let created = json!({"order": "o-1", "item": "loom", "amount": 120});
        assert_eq!(run.done().message("order.created.c1").json::<Value>(), created);
        assert_eq!(handler.state::<Value>("c1"), Some(json!([created])));
    }

    #[test]
    fn reserved_credit_approves_the_order_and_nothing_is_kept() {
        let mut handler = order();
        handler.run(placed("o-1", "loom")).done();
        let run = handler.run(credit("reserved", "o-1"));
        let approved = json!({"order": "o-1", "item": "loom", "amount": 120});
        assert_eq!(run.done().subjects(), ["order.approved.c1"]);
        assert_eq!(run.message("order.approved.c1").json::<Value>(), approved);
        assert_eq!(run.state_bytes(), None);
    }

    #[test]
    fn a_discontinued_item_cancels_the_order() {
        let mut handler = order();
        handler.run(placed("o-1", "distaff")).done();
        let run = handler.run(credit("reserved", "o-1"));
        let cancelled = json!({"order": "o-1", "amount": 120, "reason": "discontinued"});
        assert_eq!(run.done().subjects(), ["order.cancelled.c1"]);
        assert_eq!(run.message("order.cancelled.c1").json::<Value>(), cancelled);
    }

    #[test]
    fn exceeded_credit_cancels_the_order() {
        let mut handler = order();
        handler.run(placed("o-1", "loom")).done();
        let run = handler.run(credit("exceeded", "o-1"));
        let cancelled = json!({"order": "o-1", "amount": 120, "reason": "credit"});
        assert_eq!(run.done().message("order.cancelled.c1").json::<Value>(), cancelled);
        assert_eq!(run.state_bytes(), None);
    }

    #[test]
    fn an_open_order_cannot_be_placed_again() {
        let mut handler = order();
        handler.run(placed("o-1", "loom")).done();
        assert_eq!(handler.run(placed("o-1", "loom")).rejected(), "order `o-1` is open already");
    }

    #[test]
    fn an_order_is_settled_once() {
        let mut handler = order();
        handler.run(placed("o-1", "loom")).done();
        handler.run(placed("o-2", "loom")).done();
        handler.run(credit("reserved", "o-1")).done();
        assert_eq!(handler.run(credit("exceeded", "o-1")).rejected(), "order `o-1` is not open");
        assert_eq!(handler.run(credit("reserved", "o-2")).done().subjects(), ["order.approved.c1"]);
    }

    #[test]
    fn an_order_of_nothing_is_rejected() {
        let nothing = json!({"order": "o-1", "item": "loom", "amount": 0});
        let run = order().run(testing::event("order.placed.c1").json(&nothing));
        assert!(run.rejected().contains("expected a nonzero u64"));
    }

    #[test]
    fn other_events_are_rejected() {
        let run = order().run(testing::event("order.lost.c1"));
        assert_eq!(run.rejected(), "`order.lost.c1` is no event of an order");
    }
}
