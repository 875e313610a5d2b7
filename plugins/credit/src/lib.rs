//! Lends every customer credit up to a limit.
//!
//! | on | publishes |
//! |---|---|
//! | `order.created.<customer>` | `credit.reserved.<customer>`, or `credit.exceeded.<customer>` |
//! | `order.cancelled.<customer>` | `credit.released.<customer>` if credit was reserved for the order |
//!
//! The key is the customer: `{subject.2}`. The state is what is reserved for each order. An approved order
//! keeps its reservation; a cancelled one gives back exactly what it had, once. Each order reserves at least
//! 1, so the state never holds more orders than the limit.
//!
//! Config: `limit`, 1000 if it is not set.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use heddle_sdk::{Event, Failure, Verdict, config, log, publish, state};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Created {
    order: String,
    amount: NonZeroU64,
}

#[derive(Deserialize)]
struct Cancelled {
    order: String,
}

/// What each order of the customer has reserved.
#[derive(Default, Deserialize, Serialize)]
struct Reservations(BTreeMap<String, NonZeroU64>);

/// What happened to the credit of a customer.
#[derive(Serialize)]
struct Account {
    order: String,
    amount: NonZeroU64,
    /// What is reserved for all orders of the customer, after the event.
    reserved: u64,
    limit: u64,
}

/// Handles one event of a customer.
///
/// # Errors
/// Rejects what it cannot read and an order that has a reservation already. Asks for another try if the limit
/// cannot be read.
pub fn handle(event: &Event) -> Verdict {
    match (event.token(0), event.token(1)) {
        (Some("order"), Some("created")) => reserve(event),
        (Some("order"), Some("cancelled")) => release(event),
        _ => Err(Failure::reject(format!("`{}` is no event that touches credit", event.subject()))),
    }
}

heddle_sdk::handler!(handle);

fn reserve(event: &Event) -> Verdict {
    let Created { order, amount } = event.json()?;
    let limit = limit()?;
    let mut reservations: Reservations = state::get()?.unwrap_or_default();
    if reservations.0.contains_key(&order) {
        return Err(Failure::reject(format!("order `{order}` has a reservation already")));
    }
    let reserved = reservations.total();
    let Some(reserved) = reserved.checked_add(amount.get()).filter(|sum| *sum <= limit) else {
        log::info!("order `{order}` exceeds the limit: {reserved} of {limit} are reserved");
        publish(format!("credit.exceeded.{}", event.key()), &Account { order, amount, reserved, limit })?;
        return Ok(());
    };
    reservations.0.insert(order.clone(), amount);
    reservations.store()?;
    publish(format!("credit.reserved.{}", event.key()), &Account { order, amount, reserved, limit })?;
    Ok(())
}

fn release(event: &Event) -> Verdict {
    let Cancelled { order } = event.json()?;
    let limit = limit()?;
    let mut reservations: Reservations = state::get()?.unwrap_or_default();
    let Some(amount) = reservations.0.remove(&order) else {
        return Ok(());
    };
    reservations.store()?;
    let reserved = reservations.total();
    publish(format!("credit.released.{}", event.key()), &Account { order, amount, reserved, limit })?;
    Ok(())
}

fn limit() -> Result<u64, config::Error> {
    Ok(config::parse("limit")?.unwrap_or(1000))
}

impl Reservations {
    /// Never overflows: an order is only added if the sum fits.
    fn total(&self) -> u64 {
        self.0.values().map(|amount| amount.get()).sum()
    }

    fn store(&self) -> Verdict {
        if self.0.is_empty() {
            state::clear()
        } else {
            state::set(self)?
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use heddle_sdk::testing::{self, TestEvent, TestHandler};
    use serde_json::{Value, json};

    use super::*;

    fn credit() -> TestHandler<impl Fn(&Event) -> Verdict> {
        testing::handler(handle).key("{subject.2}").publishes(["credit.*.*"]).config("limit", "200")
    }

    fn created(order: &str, amount: u64) -> TestEvent {
        let payload = json!({"order": order, "item": "loom", "amount": amount});
        testing::event("order.created.c1").json(&payload)
    }

    fn cancelled(order: &str) -> TestEvent {
        let payload = json!({"order": order, "amount": 1, "reason": "discontinued"});
        testing::event("order.cancelled.c1").json(&payload)
    }

    #[test]
    fn credit_is_reserved_up_to_the_limit_and_no_further() {
        let mut credit = credit();
        let run = credit.run(created("o-1", 120));
        let account = json!({"order": "o-1", "amount": 120, "reserved": 120, "limit": 200});
        assert_eq!(run.done().message("credit.reserved.c1").json::<Value>(), account);
        let run = credit.run(created("o-2", 81));
        let account = json!({"order": "o-2", "amount": 81, "reserved": 120, "limit": 200});
        assert_eq!(run.done().message("credit.exceeded.c1").json::<Value>(), account);
        let run = credit.run(created("o-3", 80));
        assert_eq!(run.done().subjects(), ["credit.reserved.c1"]);
        assert_eq!(credit.state::<Value>("c1"), Some(json!({"o-1": 120, "o-3": 80})));
    }

    #[test]
    fn a_cancelled_order_gives_back_what_it_had_once() {
        let mut credit = credit();
        credit.run(created("o-1", 120)).done();
        credit.run(created("o-2", 30)).done();
        let run = credit.run(cancelled("o-1"));
        let account = json!({"order": "o-1", "amount": 120, "reserved": 30, "limit": 200});
        assert_eq!(run.done().message("credit.released.c1").json::<Value>(), account);
        let run = credit.run(cancelled("o-1"));
        assert!(run.done().messages().is_empty());
        assert_eq!(credit.state::<Value>("c1"), Some(json!({"o-2": 30})));
    }

    #[test]
    fn a_customer_without_reservations_has_no_state() {
        let mut credit = credit();
        credit.run(created("o-1", 120)).done();
        assert_eq!(credit.run(cancelled("o-1")).done().state_bytes(), None);
    }

    #[test]
    fn an_order_without_a_reservation_releases_nothing() {
        let run = credit().run(cancelled("o-1"));
        assert!(run.done().messages().is_empty());
        assert_eq!(run.state_bytes(), None);
    }

    #[test]
    fn customers_do_not_share_a_limit() {
        let mut credit = credit();
        credit.run(created("o-1", 200)).done();
        let other = json!({"order": "o-2", "amount": 200});
        let run = credit.run(testing::event("order.created.c2").json(&other));
        assert_eq!(run.done().subjects(), ["credit.reserved.c2"]);
    }

    #[test]
    fn an_order_reserves_once() {
        let mut credit = credit();
        credit.run(created("o-1", 10)).done();
        assert_eq!(credit.run(created("o-1", 10)).rejected(), "order `o-1` has a reservation already");
    }

    #[test]
    fn an_amount_beyond_all_numbers_exceeds_the_limit() {
        let mut credit = credit().config("limit", u64::MAX.to_string());
        credit.run(created("o-1", 1)).done();
        assert_eq!(credit.run(created("o-2", u64::MAX)).done().subjects(), ["credit.exceeded.c1"]);
    }

    #[test]
    fn a_limit_that_is_no_number_is_tried_again() {
        let run = credit().config("limit", "much").run(created("o-1", 1));
        assert!(run.retried().starts_with("config `limit` cannot be `much`"));
    }
}
