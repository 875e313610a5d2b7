//! Texts that stand in headers, logs and lists: subjects, the words of plugins and people, and times.
//!
//! Promises that a text is one line without control characters and bounded, and that a time is read back as it was.
//! Refuses to know what a text is about.

use super::subject::{self, MAX_SUBJECT};

/// A subject as a header value: as it is, unless it is not legal.
pub(super) fn subject_text(subject: &str) -> String {
    if subject::check(subject).is_ok() { subject.to_owned() } else { header_text(subject, MAX_SUBJECT) }
}

/// `text` as a header value: one line, without control characters, at most `max` bytes.
pub fn header_text(text: &str, max: usize) -> String {
    let mut value = String::new();
    for c in text.trim().chars() {
        let plain = c != '\\' && !c.is_control();
        let part = if plain { c.to_string() } else { c.escape_default().to_string() };
        if value.len() + part.len() > max.saturating_sub('…'.len_utf8()) {
            value.push('…');
            break;
        }
        value.push_str(&part);
    }
    value.trim_end().to_owned()
}

/// The text that [`header_text`] has escaped as this. None: nothing in it is escaped, or not as there.
pub fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('\\');
    let mut whole = parts.next()?.to_owned();
    if whole.len() == text.len() {
        return None;
    }
    while let Some(part) = parts.next() {
        let (c, rest) = match part.chars().next() {
            // Two in a row: the next part is plain.
            None => ('\\', parts.next()?),
            Some('u') => {
                let (digits, rest) = part.strip_prefix("u{")?.split_once('}')?;
                (char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, rest)
            }
            Some('n') => ('\n', part.get(1..)?),
            Some('r') => ('\r', part.get(1..)?),
            Some('t') => ('\t', part.get(1..)?),
            Some(_) => return None,
        };
        whole.push(c);
        whole.push_str(rest);
    }
    Some(whole)
}

/// Nanoseconds since 1970 as RFC 3339.
pub fn rfc3339(nanos: u64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos));
    time.ok()
        .and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| nanos.to_string())
}

/// The nanoseconds since 1970 of a time in RFC 3339.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let time = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_text_is_one_bounded_line() {
        assert_eq!(header_text(" a\r\nb\u{1b}[1m ", 100), "a\\r\\nb\\u{1b}[1m");
        assert!(header_text(&"ä".repeat(1000), 64).len() <= 64);
    }

    #[test]
    fn what_is_escaped_is_read_back_as_it_was() {
        for text in ["a\nb", "a\\b\\\\nc", "\u{1b}[31m\t", "\u{9b}ä\\", "\\"] {
            let escaped = header_text(&format!("<{text}>"), 100);
            assert_eq!(unescaped(&escaped), Some(format!("<{text}>")), "{escaped}");
        }
        for text in ["plain", "", "a\\x", "a\\u{110000}", "a\\u{1b", "a\\"] {
            assert_eq!(unescaped(text), None, "{text}");
        }
    }

    #[test]
    fn times_read_back_as_they_were() {
        let time = 1_700_000_000_123_456_789;
        assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time));
        assert_eq!(parse_rfc3339("yesterday"), None);
    }
}
