//! Fingerprints: what failures of the same cause have in common.

use xxhash_rust::xxh3::xxh3_64;

/// Frames that count: the outer ones are the same for every event.
const FRAMES: usize = 3;

/// Sixteen hexadecimal digits that are the same for failures of one kind whose messages differ in numbers, ids and
/// quoted text only, and whose innermost frames are the same.
pub fn fingerprint(kind: &str, message: &str, backtrace: &[String]) -> String {
    let mut text = format!("{kind}\n{}", shape(message));
    for frame in backtrace.iter().take(FRAMES) {
        text.push('\n');
        text.push_str(frame);
    }
    format!("{:016x}", xxh3_64(text.as_bytes()))
}

/// The message without what differs from event to event: words with a digit in them, and what stands in quotes.
fn shape(message: &str) -> String {
    let mut shape = String::with_capacity(message.len());
    let mut quote = None;
    let mut word = String::new();
    let close = |word: &mut String, shape: &mut String| {
        let varies = word.chars().any(|c| c.is_ascii_digit());
        shape.push_str(if varies { "#" } else { word });
        word.clear();
    };
    for c in message.chars() {
        match quote {
            Some(end) if c == end => {
                shape.push('#');
                quote = None;
            }
            Some(_) => {}
            None if c.is_alphanumeric() || c == '_' || c == '-' => word.push(c),
            None => {
                close(&mut word, &mut shape);
                match c {
                    '`' | '"' => quote = Some(c),
                    c => shape.push(c),
                }
            }
        }
    }
    close(&mut word, &mut shape);
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &str) -> String {
        fingerprint("trap", message, &[])
    }

    #[test]
    fn numbers_ids_and_quoted_text_do_not_matter_and_words_do() {
        assert_eq!(of("order 17 of `ada` is missing"), of("order 4711 of `bob` is missing"));
        assert_eq!(of("c0ffee-12 failed"), of("deadbeef-99 failed"));
        assert_ne!(of("order 17 is missing"), of("order 17 is late"));
        assert_ne!(of("x"), fingerprint("reject", "x", &[]));
        assert_ne!(of("x"), fingerprint("trap", "x", &["reserve".to_owned()]));
    }

    #[test]
    fn any_text_has_a_fingerprint() {
        for text in ["", "`", "\"", "``", "ä1", "a`b"] {
            assert_eq!(of(text).len(), 16, "{text:?}");
        }
    }
}
