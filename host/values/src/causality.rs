//! Causality: which event a message came from, which chain it belongs to, and how long that chain is.

use super::derivation;
use super::event::{Event, Headers};
use super::names::{CAUSE, CORRELATION, HANDLER, HOPS, TRACEPARENT};
use super::verdict::{CauseClass, Failure};

/// The longest chain of events. An event at its end becomes a dead letter: the handlers go in a circle.
const MAX_HOPS: u32 = 100;

/// The longest correlation id that is taken over from an event, in bytes.
const MAX_CORRELATION: usize = 256;

/// How many handlers lie between the first event of the chain and this one.
fn hops(event: &Event) -> u32 {
    event.header(HOPS).and_then(|hops| hops.parse().ok()).unwrap_or(0)
}

/// Why an event is not run: its chain is too long.
pub fn too_many_hops(event: &Event) -> Option<Failure> {
    let hops = hops(event);
    (hops > MAX_HOPS).then(|| {
        let reason = format!(
            "{hops} handlers have passed this event on, more than {MAX_HOPS}: do they go in a circle?"
        );
        Failure::new(CauseClass::Hops, reason)
    })
}

/// The id of the event that began the chain.
pub fn correlation(event: &Event) -> String {
    match event.header(CORRELATION) {
        // It goes on in headers of ours.
        Some(id) if !id.is_empty() && id.len() <= MAX_CORRELATION && !id.contains(char::is_control) => {
            id.to_owned()
        }
        _ => event.id(),
    }
}

/// The headers that every message gets which `handler` publishes because of `event`.
pub fn headers(event: &Event, handler: &str) -> Headers {
    let id = event.id();
    let trace = traceparent(event, handler, &id);
    let mut headers = Headers::from_pairs([
        (CORRELATION, correlation(event)),
        (CAUSE, id),
        (HANDLER, handler.to_owned()),
        (HOPS, (hops(event) + 1).to_string()),
    ]);
    if let Some(trace) = trace {
        headers.push(TRACEPARENT, trace);
    }
    headers
}

/// Continues the event's trace. The span is the same on every re-run. No trace is begun: the server would look for one
/// in every message, which is a tenth of its work, and what a new trace could tell, the correlation tells.
fn traceparent(event: &Event, handler: &str, id: &str) -> Option<String> {
    let (trace, flags) = parse_traceparent(event.header(TRACEPARENT)?)?;
    let span = derivation::span(id, handler);
    Some(format!("00-{trace}-{span:016x}-{flags}"))
}

/// The id of the trace that the event belongs to.
pub fn trace(event: &Event) -> Option<&str> {
    parse_traceparent(event.header(TRACEPARENT)?).map(|(trace, _)| trace)
}

fn parse_traceparent(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    let sound = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    (sound && !zero(trace) && !zero(span)).then_some((trace, flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(headers: Headers) -> Event {
        Event {
            stream: "S".into(),
            sequence: 4,
            subject: "a".into(),
            time: 0,
            headers,
            payload: Default::default(),
            source: Default::default(),
        }
    }

    #[test]
    fn a_chain_begins_with_its_first_event_and_counts_its_hops() {
        let first = headers(&event(Headers::default()), "credit");
        assert_eq!(first.get(CAUSE), Some("S/4"));
        assert_eq!(first.get(CORRELATION), Some("S/4"));
        assert_eq!(first.get(HOPS), Some("1"));
        let mut second = event(first);
        second.sequence = 9;
        let next = headers(&second, "notify");
        assert_eq!(next.get(CAUSE), Some("S/9"));
        assert_eq!(next.get(CORRELATION), Some("S/4"));
        assert_eq!(next.get(HOPS), Some("2"));
    }

    #[test]
    fn a_trace_goes_on_and_a_broken_one_ends() {
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let with = |value: &str| event(Headers::from_pairs([(TRACEPARENT, value)]));
        let next = headers(&with(given), "credit");
        let trace = next.get(TRACEPARENT).unwrap();
        assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert_ne!(trace, given);
        for broken in ["", "00-xyz", &given.replace("4bf9", "4BF9"), "00-0-0-00"] {
            assert_eq!(headers(&with(broken), "credit").get(TRACEPARENT), None);
        }
    }

    #[test]
    fn a_run_again_gives_the_same_headers() {
        let event = event(Headers::default());
        assert_eq!(headers(&event, "credit"), headers(&event, "credit"));
    }
}
