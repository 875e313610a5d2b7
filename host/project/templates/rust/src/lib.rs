//! Gives a gift for every third order of a customer.

use heddle_sdk::{Event, Verdict, publish, state};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Placed {
    order: String,
}

#[derive(Serialize)]
struct Gift {
    order: String,
    number: u64,
}

fn handle(event: &Event) -> Verdict {
    let Placed { order } = event.json()?;
    let orders = state::update(|orders: &mut u64| {
        *orders += 1;
        *orders
    })?;
    if orders % 3 == 0 {
        publish(format!("gift.earned.{}", event.key()), &Gift { order, number: orders / 3 })?;
    }
    Ok(())
}

heddle_sdk::handler!(handle);

#[cfg(test)]
mod tests {
    use heddle_sdk::testing;

    use super::*;

    #[test]
    fn every_third_order_earns_a_gift() {
        let placed = || testing::event("order.placed.ada").text(r#"{"order": "o-1"}"#);
        let mut handler = testing::handler(handle).key("{subject.2}").publishes(["gift.earned.*"]);
        assert!(handler.run(placed()).done().messages().is_empty());
        assert!(handler.run(placed()).done().messages().is_empty());
        let run = handler.run(placed());
        assert_eq!(run.done().message("gift.earned.ada").text(), r#"{"order":"o-1","number":1}"#);
    }
}
