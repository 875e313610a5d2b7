//! What to try once an application runs, in its own words.

use std::path::PathBuf;

use super::super::test::FOLDER;
use crate::testing::case::{self, GivenEvent};
use heddle_values::settings::Settings;
use heddle_values::subject::{Pattern, Token};

/// The longest payload that is proposed, in bytes.
const MAX_PAYLOAD: usize = 200;

/// The line. Its event is one of the application's tests, if one can be given on a command line.
pub(super) fn next(settings: &Settings) -> String {
    let publish = from_tests(settings).or_else(|| from_subscription(settings));
    let publish = publish.unwrap_or_else(|| "heddle publish SUBJECT PAYLOAD".to_owned());
    format!("next: `{publish}`, `heddle tail` or `heddle status` in another terminal; Ctrl-C ends it")
}

fn from_tests(settings: &Settings) -> Option<String> {
    let entries = std::fs::read_dir(settings.folder.join(FOLDER)).ok()?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    // A test that cannot be read is for `heddle test` to complain of.
    let cases = files.iter().filter_map(|file| case::read(file).ok()).flatten();
    cases.flat_map(|case| case.events).find_map(|event| command(settings, event))
}

fn command(settings: &Settings, event: GivenEvent) -> Option<String> {
    let GivenEvent { subject, payload, payload_base64: None, json, .. } = event else { return None };
    let payload = payload.or_else(|| json.map(|json| json.to_string())).unwrap_or_default();
    let is_plain = payload.len() <= MAX_PAYLOAD && !payload.contains(|c: char| c.is_control() || c == '`');
    let is_read = settings.handlers.iter().any(|handler| handler.subscribes_to(&subject));
    (is_plain && is_read).then(|| format!("heddle publish {} {}", quoted(&subject), quoted(&payload)))
}

/// As a shell has to be given it.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn from_subscription(settings: &Settings) -> Option<String> {
    let own = settings.handlers.iter().filter(|handler| handler.stream == settings.stream.name);
    let pattern: &Pattern = own.flat_map(|handler| &handler.subscribe).next()?;
    let tokens = pattern.tokens().iter().map(|token| match token {
        Token::Literal(text) => text.to_string(),
        Token::Any | Token::Tail => "NAME".to_owned(),
    });
    Some(format!("heddle publish {} PAYLOAD", tokens.collect::<Vec<_>>().join(".")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_config::{Needs, load};

    fn publish(tests: &[(&str, &str)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("heddle.toml");
        let text = "app = \"shop\"\n[stream]\nname = \"SHOP\"\nsubjects = [\"order.>\"]\n\
            [handlers.h]\nplugin = \"h.wasm\"\nsubscribe = [\"order.*.placed.>\"]\n";
        std::fs::write(&file, text).unwrap();
        std::fs::create_dir(folder.path().join(FOLDER)).unwrap();
        for (name, events) in tests {
            std::fs::write(folder.path().join(FOLDER).join(name), events).unwrap();
        }
        let line = next(&load(&file, Needs::File).unwrap());
        line.split('`').nth(1).unwrap().to_owned()
    }

    #[test]
    fn the_event_of_a_test_is_proposed_if_a_handler_reads_it_and_a_shell_can_be_given_it() {
        assert_eq!(publish(&[]), "heddle publish order.NAME.placed.NAME PAYLOAD");
        let event = "[[events]]\nsubject = \"order.eu.placed.ada\"\n";
        let json = format!("{event}json = {{ order = \"o'1\" }}\n");
        let proposed = r#"heddle publish order.eu.placed.ada '{"order":"o'\''1"}'"#;
        assert_eq!(publish(&[("b.toml", &json)]), proposed);
        let elsewhere = format!("[[events]]\nsubject = \"mail.sent\"\n{json}");
        let long = format!("{event}payload = \"{}\"\n{json}", "x".repeat(MAX_PAYLOAD + 1));
        let base64 = format!("{event}payload-base64 = \"AAAA\"\n{json}");
        for before in [&elsewhere, &long, &base64, "not a test"] {
            assert_eq!(publish(&[("a.toml", before), ("b.toml", &json)]), proposed, "{before}");
        }
    }
}
