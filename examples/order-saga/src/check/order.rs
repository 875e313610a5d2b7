//! Order: what a handler publishes for a customer is in the order of the events it came from, and so are the
//! notices.

use std::collections::HashMap;

use super::lives::Lives;
use super::{Fault, Rule};
use crate::event::{Body, Event, Handler};

/// For each handler and customer, effects stand in the stream in the order of their origins.
///
/// The origin is found by the order's name, not by the header, so a host that orders wrongly and labels
/// consistently is found out. Since a handler's origins are all in one lane, this covers each pair of stages
/// (created in the order of placed, and so on) and the order between them.
pub(super) fn lanes(events: &[Event], lives: &Lives<'_>, faults: &mut Vec<Fault>) {
    let mut last: HashMap<(Handler, &str), &Event> = HashMap::new();
    for event in events {
        let Some((handler, _)) = event.stage().origin() else { continue };
        let Some(origin) = lives.origin(event) else { continue };
        let latest = last.entry((handler, &event.customer)).or_insert(origin);
        if origin.sequence < latest.sequence {
            let text = format!(
                "{} of order `{}` came from sequence {}, but sequence {} of customer `{}` was answered before",
                event.stage().subjects(),
                event.order(),
                origin.sequence,
                latest.sequence,
                event.customer,
            );
            faults.push(Fault::new(Rule::Reorder, event.sequence, text));
        } else {
            *latest = origin;
        }
    }
}

/// The notices of each customer are numbered without a gap.
pub(super) fn notices(events: &[Event], faults: &mut Vec<Fault>) {
    let mut written: HashMap<&str, u64> = HashMap::new();
    for event in events {
        let Body::Notice(notice) = &event.body else { continue };
        let number = written.entry(&event.customer).or_default();
        *number += 1;
        if notice.n != *number {
            let text =
                format!("customer `{}` got line {} in place of line {number}", event.customer, notice.n);
            faults.push(Fault::new(Rule::Notice, event.sequence, text));
            *number = notice.n;
        }
    }
}
