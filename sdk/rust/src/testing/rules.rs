//! What the contract forbids, as pure functions.

use crate::Refusal;
use crate::event::Headers;

const MOST_HEADERS: usize = 64;

/// Subjects that begin so are the server's or the host's.
const RESERVED: [&str; 4] = ["$", "_heddle.", "_INBOX.", "dead."];

/// A subject on which a handler may publish.
pub(super) fn check_subject(subject: &str, publishes: Option<&[String]>) -> Result<(), Refusal> {
    let problem = if subject.split('.').any(str::is_empty) {
        Some("has an empty token")
    } else if subject.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Some("has a space or a control character")
    } else if subject.contains(['*', '>']) {
        Some("has a wildcard")
    } else if RESERVED.iter().any(|prefix| subject.starts_with(prefix)) {
        Some("is reserved")
    } else {
        None
    };
    if let Some(problem) = problem {
        return Err(Refusal::Invalid(format!("subject `{}` {problem}", subject.escape_debug())));
    }
    match publishes {
        Some(patterns) if !patterns.iter().any(|pattern| covers(pattern, subject)) => {
            Err(Refusal::NotGranted(format!("subject `{subject}` is outside of `publishes`")))
        }
        _ => Ok(()),
    }
}

/// The headers of a message or a reply.
pub(super) fn check_headers(headers: &Headers) -> Result<(), Refusal> {
    if headers.len() > MOST_HEADERS {
        let text = format!("{} headers, more than {MOST_HEADERS}", headers.len());
        return Err(Refusal::Invalid(text));
    }
    headers.iter().try_for_each(|(name, value)| check_header(name, value))
}

fn check_header(name: &str, value: &str) -> Result<(), Refusal> {
    let lower = name.to_ascii_lowercase();
    let problem = if name.is_empty() {
        "has no name"
    } else if !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        "has a name that is not of plain characters"
    } else if lower.starts_with("nats-") || lower.starts_with("heddle-") || lower == "traceparent" {
        "is set by the host alone"
    } else if value.contains(['\r', '\n', '\0']) {
        "has a line break in its value"
    } else {
        return Ok(());
    };
    Err(Refusal::Invalid(format!("header `{}` {problem}", name.escape_debug())))
}

/// Whether a pattern with `*` and `>` covers a subject.
fn covers(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in pattern.split('.') {
        match (part, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (literal, Some(token)) if literal == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(subject: &str) -> Option<String> {
        check_subject(subject, None).err().map(|refusal| refusal.to_string())
    }

    fn header(name: &str, value: &str) -> Option<String> {
        check_headers(&vec![(name.to_owned(), value.to_owned())]).err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn only_plain_subjects_pass() {
        assert_eq!(subject("order.created.c1"), None);
        for bad in ["", ".a", "a.", "a..b"] {
            assert_eq!(subject(bad), Some(format!("invalid: subject `{bad}` has an empty token")));
        }
        for bad in ["a.*", "a.>", "a.b*"] {
            assert_eq!(subject(bad), Some(format!("invalid: subject `{bad}` has a wildcard")));
        }
        for bad in ["$JS.API.INFO", "_heddle.shop.claim.1", "_INBOX.x", "dead.shop.credit.a"] {
            assert_eq!(subject(bad), Some(format!("invalid: subject `{bad}` is reserved")));
        }
        assert!(subject("a b").is_some());
        assert_eq!(
            subject("a\r\nb").as_deref(),
            Some("invalid: subject `a\\r\\nb` has a space or a control character")
        );
    }

    #[test]
    fn only_subjects_within_publishes_pass() {
        let publishes = ["order.*.c1".to_owned(), "credit.>".to_owned()];
        let granted = |subject| check_subject(subject, Some(&publishes)).is_ok();
        assert!(granted("order.created.c1"));
        assert!(granted("credit.reserved.c1"));
        assert!(!granted("order.created.c2"));
        assert!(!granted("order.created"));
        assert!(!granted("order.created.c1.x"));
        assert!(!granted("credit"));
    }

    #[test]
    fn headers_of_the_host_are_refused() {
        assert_eq!(header("Priority", "low"), None);
        for name in ["Nats-Rollup", "nats-msg-id", "Heddle-Cause", "traceparent", "TraceParent"] {
            assert_eq!(header(name, "x"), Some(format!("invalid: header `{name}` is set by the host alone")));
        }
    }

    #[test]
    fn headers_that_would_break_the_wire_are_refused() {
        for (name, value) in
            [("", "x"), ("a:b", "x"), ("a b", "x"), ("a\r\n", "x"), ("a", "x\r\nb: c"), ("ä", "x")]
        {
            assert!(header(name, value).is_some(), "{name:?}: {value:?}");
        }
    }

    #[test]
    fn a_message_has_at_most_64_headers() {
        let headers = |n: usize| vec![("a".to_owned(), "b".to_owned()); n];
        assert!(check_headers(&headers(64)).is_ok());
        assert!(check_headers(&headers(65)).is_err());
    }
}
