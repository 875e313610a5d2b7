//! The `key` template of a handler, as in `heddle.toml`.

use serde_json::Value;

use crate::Event;

/// The key that `template` gives an event, or none if the event lacks a part of it.
///
/// # Panics
/// If the template is not one.
pub(super) fn of(template: &str, event: &Event) -> Option<String> {
    let mut key = String::new();
    let mut rest = template;
    while let Some((text, part)) = rest.split_once('{') {
        let Some((part, after)) = part.split_once('}') else { panic_at(template, "`{` without `}`") };
        key.push_str(text);
        key.push_str(&value(template, part, event)?);
        rest = after;
    }
    key.push_str(rest);
    Some(key)
}

fn value(template: &str, part: &str, event: &Event) -> Option<String> {
    match part.split_once('.') {
        None if part == "subject" => Some(event.subject.clone()),
        None if part == "event" => Some(event.id.clone()),
        Some(("subject", index)) => match index.parse() {
            Ok(index) => event.token(index).map(str::to_owned),
            Err(_) => panic_at(template, "the token of a subject is a number"),
        },
        Some(("header", name)) => event.header(name).map(str::to_owned),
        Some(("payload", pointer)) => match as_it_stands(event)?.pointer(pointer)? {
            Value::String(text) => Some(text.clone()),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        },
        _ => panic_at(
            template,
            "a part is `subject`, `subject.N`, `header.NAME`, `payload./POINTER` or `event`",
        ),
    }
}

/// The payload with each number as the text that it is: as a key, it keeps all its digits.
fn as_it_stands(event: &Event) -> Option<Value> {
    event.json::<Value>().ok()?;
    let (mut quoted, mut escaped, mut number) = (false, false, false);
    let mut json = String::new();
    for c in event.text().ok()?.trim_start_matches('\u{feff}').chars() {
        let in_number = !quoted && (c.is_ascii_digit() || c == '-' || number && ".eE+".contains(c));
        if in_number != number {
            json.push('"');
            number = in_number;
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        json.push(c);
    }
    if number {
        json.push('"');
    }
    serde_json::from_str(&json).ok()
}

#[expect(clippy::panic, reason = "a template that is not one is the test's own fault")]
fn panic_at(template: &str, problem: &str) -> ! {
    panic!("key template `{template}`: {problem}");
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const PAYLOAD: &str = "\u{feff}{\"customer\":{\"id\":\"c3\",\"n\":4,\"\\\"1\":[1.0,\"\\\\2\",true, 100000000000000000001 ]}}";

    fn check(template: &str, expected: Option<&str>) {
        let event = Event {
            id: "SHOP/7".into(),
            subject: "order.created.c1".into(),
            key: String::new(),
            time: UNIX_EPOCH,
            headers: vec![("Customer".into(), "c2".into())],
            payload: PAYLOAD.as_bytes().into(),
        };
        assert_eq!(of(template, &event).as_deref(), expected, "{template}");
    }

    #[test]
    fn a_template_takes_its_parts_from_the_event() {
        check("{subject}", Some("order.created.c1"));
        check("{subject.2}", Some("c1"));
        check("{header.Customer}", Some("c2"));
        check("{payload./customer/id}", Some("c3"));
        check("{payload./customer/n}", Some("4"));
        check("{payload./customer/\"1/0}", Some("1.0"));
        check("{payload./customer/\"1/1}", Some("\\2"));
        check("{payload./customer/\"1/2}", Some("true"));
        check("{payload./customer/\"1/3}", Some("100000000000000000001"));
        check("{event}", Some("SHOP/7"));
        check("a-{subject.0}-{subject.2}", Some("a-order-c1"));
    }

    #[test]
    fn an_event_that_lacks_a_part_has_no_key() {
        check("{subject.3}", None);
        check("{header.customer}", None);
        check("{payload./customer}", None);
    }

    #[test]
    #[should_panic(expected = "key template `{topic}`")]
    fn a_template_that_is_none_fails_the_test() {
        check("{topic}", None);
    }
}
