//! Tells every customer how an order ended.
//!
//! | on | publishes |
//! |---|---|
//! | `order.approved.<customer>`, `order.cancelled.<customer>` | `notice.sent.<customer>` |
//!
//! The key is the customer: `{subject.2}`. The state is the number of the last notice, so that the notices of
//! a customer are numbered 1, 2, 3 without a gap.

use heddle_sdk::{Event, Failure, Verdict, log, publish, state};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Approved {
    order: String,
    item: String,
    amount: u64,
}

#[derive(Deserialize)]
struct Cancelled {
    order: String,
    reason: String,
}

#[derive(Serialize)]
struct Notice {
    n: u64,
    order: String,
    line: String,
}

/// Handles one settled order.
///
/// # Errors
/// Rejects what it cannot read.
pub fn handle(event: &Event) -> Verdict {
    let (order, line) = tell(event)?;
    let n = state::update(|n: &mut u64| {
        *n += 1;
        *n
    })?;
    log::info!("{line}");
    publish(format!("notice.sent.{}", event.key()), &Notice { n, order, line })?;
    Ok(())
}

heddle_sdk::handler!(handle);

/// The order and what there is to say about it.
fn tell(event: &Event) -> Result<(String, String), Failure> {
    match (event.token(0), event.token(1)) {
        (Some("order"), Some("approved")) => {
            let Approved { order, item, amount } = event.json()?;
            let line = format!("order {order} is approved: {item} for {amount}");
            Ok((order, line))
        }
        (Some("order"), Some("cancelled")) => {
            let Cancelled { order, reason } = event.json()?;
            let line = format!("order {order} is cancelled: {reason}");
            Ok((order, line))
        }
        _ => Err(Failure::reject(format!("`{}` is no event of a settled order", event.subject()))),
    }
}

#[cfg(test)]
mod tests {
    use heddle_sdk::testing::{self, TestEvent, TestHandler};
    use serde_json::{Value, json};

    use super::*;

    fn notify() -> TestHandler<impl Fn(&Event) -> Verdict> {
        testing::handler(handle).key("{subject.2}").publishes(["notice.sent.*"])
    }

    fn approved(subject: &str, order: &str) -> TestEvent {
        testing::event(subject).json(&json!({"order": order, "item": "loom", "amount": 120}))
    }

    #[test]
    fn a_settled_order_makes_a_notice_and_a_log_line() {
        let mut notify = notify();
        let run = notify.run(approved("order.approved.c1", "o-1"));
        let line = "order o-1 is approved: loom for 120";
        let notice = json!({"n": 1, "order": "o-1", "line": line});
        assert_eq!(run.done().message("notice.sent.c1").json::<Value>(), notice);
        assert_eq!(run.logs().iter().map(|line| line.message.as_str()).collect::<Vec<_>>(), [line]);
        let cancelled = json!({"order": "o-2", "amount": 5, "reason": "credit"});
        let run = notify.run(testing::event("order.cancelled.c1").json(&cancelled));
        let notice = json!({"n": 2, "order": "o-2", "line": "order o-2 is cancelled: credit"});
        assert_eq!(run.done().message("notice.sent.c1").json::<Value>(), notice);
    }

    #[test]
    fn the_numbers_of_a_customer_have_no_gap() {
        let mut notify = notify();
        let mut number = |event| {
            let run = notify.run(event);
            run.messages().first().and_then(|notice| notice.json::<Value>().get("n").cloned())
        };
        assert_eq!(number(approved("order.approved.c1", "o-1")), Some(json!(1)));
        assert_eq!(number(approved("order.approved.c2", "o-2")), Some(json!(1)));
        assert_eq!(number(testing::event("order.approved.c1").text("torn")), None);
        assert_eq!(number(approved("order.approved.c1", "o-3")), Some(json!(2)));
    }

    #[test]
    fn an_order_that_is_not_settled_is_rejected() {
        let run = notify().run(approved("order.created.c1", "o-1"));
        assert_eq!(run.rejected(), "`order.created.c1` is no event of a settled order");
    }
}
