//! JSON pointers (RFC 6901) into JSON text: what stands there, to the letter.
//!
//! Promises that a number keeps all its digits, which no value of a JSON library does. Refuses to judge what is found.

use serde::de::IgnoredAny;

/// What some producers put before JSON in UTF-8. It says nothing and is not part of the JSON.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a pointer leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Without escapes.
    Text(String),
    /// As it stands in the JSON.
    Number(String),
    /// JSON `true` or `false`; in a key it is that word.
    Bool(bool),
    /// JSON `null`; no key can be made from it.
    Null,
    /// An array or object.
    Several,
}

/// What stands at `pointer` in `json`, none if nothing does; an error if `json` is not JSON. Of members with the same
/// name the last one counts.
pub fn find(json: &[u8], pointer: &str) -> Result<Option<Found>, String> {
    let json = json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json);
    let text = std::str::from_utf8(json).map_err(|error| error.to_string())?;
    // From here on it is known to be JSON.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| error.to_string())?;
    let mut value = text.trim_ascii();
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        match member(value, &token)? {
            Some(found) => value = found,
            None => return Ok(None),
        }
    }
    leaf(value).map(Some)
}

fn leaf(value: &str) -> Result<Found, String> {
    Ok(match value.as_bytes().first() {
        Some(b'"') => Found::Text(unescape(value)?),
        Some(b't') => Found::Bool(true),
        Some(b'f') => Found::Bool(false),
        Some(b'n') => Found::Null,
        Some(b'{' | b'[') => Found::Several,
        _ => Found::Number(value.to_owned()),
    })
}

fn unescape(text: &str) -> Result<String, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// The member of an object or the element of an array that `token` names.
fn member<'a>(value: &'a str, token: &str) -> Result<Option<&'a str>, String> {
    let is_object = value.starts_with('{');
    let Some(mut rest) = value.strip_prefix(['{', '[']) else { return Ok(None) };
    let (mut found, mut index) = (None, 0_usize);
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() || rest.starts_with(['}', ']']) {
            return Ok(found);
        }
        let named = if is_object {
            let (name, after) = split(rest);
            rest = after.trim_ascii_start().strip_prefix(':').unwrap_or(after).trim_ascii_start();
            unescape(name)? == token
        } else {
            // As RFC 6901 has it: no sign, no leading zero.
            token == index.to_string()
        };
        let (element, after) = split(rest);
        if named {
            found = Some(element);
        }
        index += 1;
        rest = after.trim_ascii_start();
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

/// The value that JSON text begins with, and the rest.
fn split(json: &str) -> (&str, &str) {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in json.bytes().enumerate() {
        let ends_behind = match byte {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' => {
                escaped = true;
                false
            }
            b'"' => {
                quoted = !quoted;
                !quoted && depth == 0
            }
            _ if quoted => false,
            b'{' | b'[' => {
                depth += 1;
                false
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                depth == 0
            }
            b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => {
                return json.split_at(at);
            }
            _ => false,
        };
        if ends_behind {
            return json.split_at(at + 1);
        }
    }
    (json, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, pointer: &str, expected: Option<Found>) {
        assert_eq!(find(json.as_bytes(), pointer), Ok(expected), "{pointer} in {json}");
    }

    fn text(text: &str) -> Option<Found> {
        Some(Found::Text(text.to_owned()))
    }

    #[test]
    fn a_number_keeps_all_that_stands_there() {
        for number in [
            "0",
            "-0",
            "1",
            "1.0",
            "1e2",
            "1E+2",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            "100000000000000000001",
            "100000000000000000002",
            "123456789012345678901234567890123456789",
            "0.1000000000000000055511151231257827",
            "-1.50",
            "1e999",
        ] {
            let expected = Some(Found::Number(number.to_owned()));
            check(&format!(r#"{{"id":{number}}}"#), "/id", expected.clone());
            check(&format!(r#"{{ "id" : {number} , "x":[]}}"#), "/id", expected.clone());
            check(&format!("[1,\n {number}\n]"), "/1", expected);
        }
    }

    #[test]
    fn a_pointer_goes_through_objects_arrays_and_escapes() {
        let json = r#"{"a":{"b":[{"c":"x"},"y,}\"]",{"c":"z"}]},"a/b":"1","~":"2","":"3","\u0061\"":"4","n":null,"t":true}"#;
        check(json, "/a/b/0/c", text("x"));
        check(json, "/a/b/1", text("y,}\"]"));
        check(json, "/a/b/2/c", text("z"));
        check(json, "/a~1b", text("1"));
        check(json, "/~0", text("2"));
        check(json, "/", text("3"));
        check(json, "/a\"", text("4"));
        check(json, "/n", Some(Found::Null));
        check(json, "/t", Some(Found::Bool(true)));
        check(json, "/a", Some(Found::Several));
        check(json, "/a/b", Some(Found::Several));
        for nothing in ["/x", "/a/b/3", "/a/b/00", "/a/b/-", "/t/x", "/a~1b/x"] {
            check(json, nothing, None);
        }
        check("{}", "/a", None);
        check("[]", "/0", None);
        check("7", "/a", None);
    }

    #[test]
    fn of_two_members_with_one_name_the_last_counts() {
        check(r#"{"id":"1","id":"2"}"#, "/id", text("2"));
    }

    #[test]
    fn a_byte_order_mark_says_nothing() {
        check("\u{feff}{\"id\":7}", "/id", Some(Found::Number("7".to_owned())));
        assert!(find("\u{feff}\u{feff}{}".as_bytes(), "/id").is_err());
    }

    #[test]
    fn what_is_not_json_is_said_so() {
        for bad in ["", "{", "{\"a\":1}}", "{'a':1}", "{\"a\":01}", "{\"a\":\"\u{1}\"}"] {
            assert!(find(bad.as_bytes(), "/a").is_err(), "{bad:?} passed");
        }
        assert!(find(b"{\"a\":\"\xff\"}", "/a").is_err());
    }
}
