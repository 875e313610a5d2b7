//! Causes: no event without one, and the host's headers name the right one.

use super::lives::Lives;
use super::{Fault, Rule, Terms};
use crate::event::{CAUSE, CORRELATION, Event, Stage};

/// Every effect stands behind the event it came from, and its headers point there and at the placed order.
pub(super) fn check(events: &[Event], lives: &Lives<'_>, terms: &Terms<'_>, faults: &mut Vec<Fault>) {
    for event in events {
        let Some((_, before)) = event.stage().origin() else { continue };
        let Some(origin) = lives.origin(event).filter(|origin| origin.sequence < event.sequence) else {
            let text = format!(
                "{} of order `{}` is not preceded by {}",
                event.stage().subjects(),
                event.order(),
                before.subjects()
            );
            faults.push(Fault::new(Rule::Phantom, event.sequence, text));
            continue;
        };
        header(event, CAUSE, event.cause.as_deref(), origin, terms, faults);
        if let Some(placed) = lives.first(event.order(), Stage::Placed) {
            header(event, CORRELATION, event.correlation.as_deref(), placed, terms, faults);
        }
    }
}

fn header(
    event: &Event,
    name: &str,
    found: Option<&str>,
    expected: &Event,
    terms: &Terms<'_>,
    faults: &mut Vec<Fault>,
) {
    let wanted = format!("{}/{}", terms.stream, expected.sequence);
    if found == Some(&wanted) {
        return;
    }
    let found = found.map_or_else(|| "is missing".to_owned(), |value| format!("is `{value}`"));
    let text = format!(
        "`{name}` of {} of order `{}` {found}; it came from `{wanted}`",
        event.stage().subjects(),
        event.order()
    );
    faults.push(Fault::new(Rule::WrongCause, event.sequence, text));
}
