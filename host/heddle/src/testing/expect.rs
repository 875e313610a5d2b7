//! Compares what happened with what was to happen.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use super::case::{Case, Content, Expect, ExpectedDeadLetter, ExpectedMessage, GivenEvent};
use super::story::{Ending, Published, Story};
use heddle_config::parse_duration;

/// The longest piece of a payload that is shown.
const SHOWN: usize = 400;

/// Everything in which a story differs from what its test expects.
pub(super) fn faults(case: &Case, story: &Story) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, (given, (id, handlers))) in case.events.iter().zip(&story.events).enumerate() {
        let place = format!("event {} `{}`", index + 1, given.subject);
        if *handlers == 0 {
            faults.push(format!("{place}: no handler subscribes to it"));
        }
        for expect in &given.expect {
            match ending(story, id, expect.handler.as_deref()) {
                Ok(ending) => faults.extend(
                    compare(expect, ending)
                        .into_iter()
                        .map(|fault| format!("{place}, `{}`: {fault}", ending.handler)),
                ),
                Err(fault) => faults.push(format!("{place}: {fault}")),
            }
        }
    }
    faults.extend(unexpected_dead_letters(case, story));
    if let Some(expected) = &case.expect.messages {
        let published: Vec<&Published> = story.endings.iter().flat_map(|ending| &ending.messages).collect();
        faults.extend(any_order("message", expected, &published, message_fault, show_message));
    }
    if let Some(expected) = &case.expect.dead_letters {
        let dead_letters: Vec<&Ending> =
            story.endings.iter().filter(|ending| is_dead_letter(ending)).collect();
        faults.extend(any_order("dead letter", expected, &dead_letters, letter_fault, show_dead_letter));
    }
    for expected in &case.expect.states {
        let Some(handler) = expected.handler.as_ref().or(case.handler.as_ref()) else {
            faults.push(format!("state of key `{}`: say of which `handler`", expected.key));
            continue;
        };
        let state = story.states.get(&(handler.clone(), expected.key.clone()));
        if let Some(fault) = content_fault(&expected.state, state) {
            faults.push(format!("state of `{handler}` for key `{}`: {fault}", expected.key));
        }
    }
    faults
}

/// What one handler made of one event.
fn ending<'a>(story: &'a Story, id: &str, handler: Option<&str>) -> Result<&'a Ending, String> {
    let mut of_event = story.endings.iter().filter(|ending| ending.event == id);
    match handler {
        Some(name) => of_event
            .find(|ending| *ending.handler == *name)
            .ok_or_else(|| format!("`{name}` did not come to an end with it")),
        None => match (of_event.next(), of_event.next()) {
            (Some(ending), None) => Ok(ending),
            (None, _) => Err("no handler came to an end with it".to_owned()),
            (Some(one), Some(other)) => Err(format!(
                "`{}` and `{}` handle it: say in `expect` which `handler` is meant",
                one.handler, other.handler
            )),
        },
    }
}

fn compare(expect: &Expect, ending: &Ending) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(verdict) = &expect.verdict
        && !is_verdict(verdict, &ending.verdict)
    {
        let reason = ending.reason.as_ref().map(|reason| format!(": {}", shorten(reason)));
        faults.push(format!(
            "verdict `{}` instead of `{verdict}`{}",
            ending.verdict,
            reason.unwrap_or_default()
        ));
    }
    if let (Some(expected), Some(verdicts)) = (&expect.verdicts, &ending.verdicts)
        && (expected.len() != verdicts.len()
            || expected.iter().zip(verdicts).any(|(expected, is)| !is_verdict(expected, is)))
    {
        faults.push(format!("verdicts {verdicts:?} instead of {expected:?}"));
    }
    if let (Some(expected), Some(attempts)) = (expect.attempts, ending.attempts)
        && expected != attempts
    {
        faults.push(format!("{attempts} attempts instead of {expected}"));
    }
    if let Some(part) = &expect.reason
        && !ending.reason.as_ref().is_some_and(|reason| reason.contains(part.as_str()))
    {
        let reason = ending.reason.as_deref().map_or("there is none".to_owned(), shorten);
        faults.push(format!("reason does not contain `{part}`: {reason}"));
    }
    if let Some(expected) = &expect.messages {
        faults.extend(in_order(expected, &ending.messages));
    }
    if let (Some(expected), Some(reply)) = (&expect.reply, &ending.reply) {
        faults.extend(content_fault(expected, reply.as_ref()).map(|fault| format!("reply: {fault}")));
    }
    if let (Some(expected), Some(state)) = (&expect.state, &ending.state) {
        faults.extend(content_fault(expected, state.as_ref()).map(|fault| format!("state: {fault}")));
    }
    if let (Some(expected), Some(logs)) = (&expect.logs, &ending.logs) {
        let mut lines = logs.iter();
        for part in expected {
            if !lines.any(|line| line.contains(part.as_str())) {
                faults.push(format!("no log line contains `{part}` (in this order): {logs:?}"));
            }
        }
    }
    faults
}

/// Whether a verdict is the one that is meant: `limit` is any limit.
fn is_verdict(expected: &str, is: &str) -> bool {
    expected == is || is.split_once(':').is_some_and(|(class, _)| class == expected)
}

fn is_dead_letter(ending: &Ending) -> bool {
    ending.verdict != "done" && ending.verdict != "held"
}

/// A dead letter that nobody expects.
fn unexpected_dead_letters(case: &Case, story: &Story) -> Vec<String> {
    if case.expect.dead_letters.is_some() {
        return Vec::new();
    }
    let expects = |given: &GivenEvent, ending: &Ending| {
        let meant = |expect: &&Expect| expect.handler.as_deref().is_none_or(|name| name == &*ending.handler);
        given.expect.iter().filter(meant).any(|expect| expect.verdict.is_some() || expect.verdicts.is_some())
    };
    let is_expected = |ending: &Ending| {
        let given = case.events.iter().zip(&story.events).find(|(_, (id, _))| *id == ending.event);
        given.is_some_and(|(given, _)| expects(given, ending))
    };
    let unexpected = story.endings.iter().filter(|ending| is_dead_letter(ending) && !is_expected(ending));
    unexpected.map(|ending| format!("unexpected dead letter: {}", show_dead_letter(&ending))).collect()
}

fn in_order(expected: &[ExpectedMessage], published: &[Published]) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, (expected, published)) in expected.iter().zip(published).enumerate() {
        if let Some(fault) = message_fault(expected, &published) {
            faults.push(format!("message {}: {fault}", index + 1));
        }
    }
    for missing in expected.iter().skip(published.len()) {
        faults.push(format!("message on `{}` is missing", missing.subject));
    }
    for more in published.iter().skip(expected.len()) {
        faults.push(format!("unexpected message: {}", show_message(&more)));
    }
    faults
}

/// Matches each that is expected with one that is there, whatever their order.
fn any_order<E, P>(
    what: &str,
    expected: &[E],
    there: &[&P],
    fault: fn(&E, &&P) -> Option<String>,
    show: fn(&&P) -> String,
) -> Vec<String> {
    let mut left: Vec<&P> = there.to_vec();
    let mut faults = Vec::new();
    for (index, expected) in expected.iter().enumerate() {
        match left.iter().position(|one| fault(expected, one).is_none()) {
            Some(found) => {
                left.remove(found);
            }
            None => {
                let near = left.first().and_then(|one| fault(expected, one)).unwrap_or_default();
                faults
                    .push(format!("expected {what} {} is not there {near}", index + 1).trim_end().to_owned());
            }
        }
    }
    faults.extend(left.iter().map(|more| format!("unexpected {what}: {}", show(more))));
    faults
}

fn message_fault(expected: &ExpectedMessage, message: &&Published) -> Option<String> {
    if expected.subject != message.subject {
        return Some(format!("on `{}` instead of `{}`", message.subject, expected.subject));
    }
    for (name, value) in &expected.headers.0 {
        if !message.headers.iter().any(|(known, is)| known == name && is == value) {
            return Some(format!("on `{}`: no header `{name}: {value}`", message.subject));
        }
    }
    let delay = expected.after.as_deref().map_or(Ok(std::time::Duration::ZERO), parse_duration);
    match (delay, message.delay) {
        (Err(error), _) => return Some(format!("`after`: {error}")),
        (Ok(expected), Some(delay)) if expected.as_secs() != u64::from(delay) => {
            return Some(format!(
                "on `{}`: after {delay} s instead of {} s",
                message.subject,
                expected.as_secs()
            ));
        }
        _ => {}
    }
    content_fault(&expected.content(), Some(&message.payload))
        .map(|fault| format!("on `{}`: {fault}", message.subject))
}

fn letter_fault(expected: &ExpectedDeadLetter, dead_letter: &&Ending) -> Option<String> {
    let ExpectedDeadLetter { handler, subject, cause, reason, attempts } = expected;
    let differs = handler.as_ref().is_some_and(|handler| **handler != *dead_letter.handler)
        || subject.as_ref().is_some_and(|subject| *subject != dead_letter.subject)
        || cause.as_ref().is_some_and(|cause| !is_verdict(cause, &dead_letter.verdict))
        || reason
            .as_ref()
            .is_some_and(|part| !dead_letter.reason.as_ref().is_some_and(|is| is.contains(part)))
        || attempts.is_some_and(|attempts| dead_letter.attempts.is_some_and(|is| is != attempts));
    differs.then(|| format!("(there is {})", show_dead_letter(dead_letter)))
}

fn show_dead_letter(dead_letter: &&Ending) -> String {
    let reason = shorten(dead_letter.reason.as_deref().unwrap_or_default());
    format!("`{}` gives up `{}` {}: {reason}", dead_letter.handler, dead_letter.subject, dead_letter.verdict)
}

fn show_message(message: &&Published) -> String {
    format!("`{}` {}", message.subject, show(&message.payload))
}

/// Why bytes are not what they are to be.
pub(super) fn content_fault(expected: &Content, is: Option<&Bytes>) -> Option<String> {
    let nothing_said = expected.text.is_none()
        && expected.base64.is_none()
        && expected.json.is_none()
        && expected.json_text.is_none()
        && expected.contains.is_none();
    let is = match (is, expected.none) {
        (None, true) => return None,
        (Some(is), true) => return Some(format!("{} instead of none", show(is))),
        (None, false) if nothing_said => return None,
        (None, false) => return Some("there is none".to_owned()),
        (Some(is), false) => is,
    };
    if let Some(text) = &expected.text
        && **is != *text.as_bytes()
    {
        return Some(format!("{} instead of {}", show(is), shorten(text)));
    }
    if let Some(base64) = &expected.base64
        && STANDARD.decode(base64).ok().is_none_or(|bytes| bytes != **is)
    {
        return Some(format!("Base64 `{}` instead of `{}`", shorten(&STANDARD.encode(is)), shorten(base64)));
    }
    let written = match expected.json_text.as_deref().map(serde_json::from_str::<Value>).transpose() {
        Ok(written) => written,
        Err(error) => return Some(format!("`json-text` is not JSON: {error}")),
    };
    if expected.json.is_none() && written.is_none() && expected.contains.is_none() {
        return None;
    }
    let Ok(value) = serde_json::from_slice::<Value>(is) else {
        return Some(format!("{} is not JSON", show(is)));
    };
    if let Some(json) = expected.json.as_ref().or(written.as_ref())
        && !equal(json, &value)
    {
        return Some(format!("{} instead of {}", shorten(&value.to_string()), shorten(&json.to_string())));
    }
    let part = expected.contains.as_ref().filter(|part| !contains(&value, part))?;
    Some(format!("{} does not contain {}", shorten(&value.to_string()), shorten(&part.to_string())))
}

/// Whether two values are equal; numbers by their value, so that `1` equals `1.0`.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| equal(value, other)))
        }
        _ => one == other,
    }
}

/// Whether a value holds a part: of objects the named fields, of arrays as many elements.
fn contains(value: &Value, part: &Value) -> bool {
    match (value, part) {
        (Value::Object(value), Value::Object(part)) => {
            part.iter().all(|(name, part)| value.get(name).is_some_and(|value| contains(value, part)))
        }
        (Value::Array(value), Value::Array(part)) => {
            value.len() == part.len() && value.iter().zip(part).all(|(value, part)| contains(value, part))
        }
        _ => equal(value, part),
    }
}

fn show(bytes: &Bytes) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => shorten(text),
        Err(_) => format!("<{} bytes>", bytes.len()),
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn content(content: Content, is: &str) -> Option<String> {
        content_fault(&content, Some(&Bytes::copy_from_slice(is.as_bytes())))
    }

    #[test]
    fn json_is_compared_by_value_and_a_subset_by_its_fields() {
        let json = |value| Content { json: Some(value), ..Content::default() };
        let part = |value| Content { contains: Some(value), ..Content::default() };
        assert_eq!(content(json(json!({"a": 1, "b": [2]})), r#"{ "b": [2.0], "a": 1 }"#), None);
        assert!(content(json(json!({"a": 1})), r#"{"a": 1, "b": 2}"#).is_some());
        assert_eq!(content(part(json!({"a": {"x": 1}})), r#"{"a": {"x": 1, "y": 2}, "b": 2}"#), None);
        assert!(content(part(json!({"a": 2})), r#"{"a": 1}"#).is_some());
        assert_eq!(content(json(json!(1)), "one").as_deref(), Some("one is not JSON"));
    }

    #[test]
    fn what_is_to_be_absent_must_be_absent() {
        let none = Content { none: true, ..Content::default() };
        assert_eq!(content_fault(&none, None), None);
        assert!(content_fault(&none, Some(&Bytes::from("x"))).is_some());
        let text = Content { text: Some("x".to_owned()), ..Content::default() };
        assert_eq!(content_fault(&text, None).as_deref(), Some("there is none"));
    }

    #[test]
    fn a_limit_may_be_named_or_left_open() {
        assert!(is_verdict("limit", "limit:time") && is_verdict("limit:time", "limit:time"));
        assert!(!is_verdict("limit:memory", "limit:time") && !is_verdict("done", "reject"));
    }
}
