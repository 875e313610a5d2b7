//! A line of the file as it may be shown beside a fault: without what may be a secret.
//!
//! Promises that a value is shown only where the parser took it for the value of a key that holds no secret. What it
//! made nothing of, comments, and values of other keys are not shown. A misspelt key counts as the key that is like it.

use std::borrow::Cow;
use std::mem;
use std::ops::Range;

use super::section::nearest;
use toml_parser::parser::{Event, EventKind, RecursionGuard, parse_document};
use toml_parser::{Source, Span};

/// Where values are shown at the top of the file and in its tables.
const TOP: [&str; 7] =
    ["app", "dead-letters", "handlers", "require-named-signatures", "shards", "stream", "trust"];

/// Where values are shown in the table of a handler: not in `config`.
const HANDLER: [&str; 22] = [
    "build",
    "canary",
    "concurrency",
    "grants",
    "guest",
    "instances",
    "key",
    "limits",
    "max-failures",
    "max-held",
    "max-slowdown",
    "on-dead-letter",
    "outage",
    "plugin",
    "publishes",
    "rate-limit",
    "retry",
    "shadow",
    "shadow-must-match",
    "start",
    "stream",
    "subscribe",
];

/// A file, of which lines may be shown.
pub(super) struct Shown<'a> {
    text: &'a str,
    /// What may be shown, in its order.
    visible: Vec<Span>,
}

impl<'a> Shown<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Shown { text, visible: visible(text) }
    }

    /// A line that stands at `range`, with `***` for what is not shown.
    pub(super) fn line(&self, range: Range<usize>) -> String {
        let mut shown = String::new();
        let mut from = range.start;
        for span in &self.visible {
            let (start, end) = (span.start().max(from), span.end().min(range.end));
            if start >= end {
                continue;
            }
            hide(&mut shown, self.text.get(from..start));
            shown.push_str(self.text.get(start..end).unwrap_or_default());
            from = end;
        }
        hide(&mut shown, self.text.get(from..range.end));
        shown
    }
}

fn hide(shown: &mut String, hidden: Option<&str>) {
    if hidden.is_some_and(|text| !text.trim().is_empty()) {
        shown.push_str("***");
    }
}

fn visible(text: &str) -> Vec<Span> {
    let source = Source::new(text);
    let tokens: Vec<_> = source.lex().collect();
    let mut events: Vec<Event> = Vec::new();
    parse_document(&tokens, &mut RecursionGuard::new(&mut events, MAX_DEPTH), &mut ());
    let mut reader =
        Reader { source, tables: Vec::new(), value: Vec::new(), keys: Vec::new(), visible: Vec::new() };
    for event in &events {
        reader.take(event);
    }
    reader.visible.sort_by_key(Span::start);
    reader.visible
}

/// As the library that reads the settings bounds it.
const MAX_DEPTH: u32 = 80;

/// Follows the events of a file, to know of every value which keys lead to it.
struct Reader<'a> {
    source: Source<'a>,
    /// The keys of the table that is read, and of each inline table within it.
    tables: Vec<Vec<Cow<'a, str>>>,
    /// The keys of the value that is read, below its table.
    value: Vec<Cow<'a, str>>,
    /// Keys, and where they stand, until it is certain that they are keys.
    keys: Vec<(Cow<'a, str>, Span)>,
    visible: Vec<Span>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, event: &Event) {
        match event.kind() {
            EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                self.tables.clear();
                self.keys.clear();
            }
            EventKind::StdTableClose | EventKind::ArrayTableClose => self.tables = vec![self.keys()],
            EventKind::InlineTableOpen => self.tables.push(mem::take(&mut self.value)),
            EventKind::InlineTableClose => self.value = self.tables.pop().unwrap_or_default(),
            EventKind::SimpleKey => return self.key(event),
            EventKind::KeyValSep => self.value = self.keys(),
            EventKind::Scalar if !self.harmless(event.span()) => return,
            EventKind::Comment | EventKind::Error => return,
            _ => {}
        }
        self.visible.push(event.span());
    }

    fn key(&mut self, event: &Event) {
        // Where no `=` follows, what comes has no key that is known.
        self.value.clear();
        let mut key = Cow::Borrowed("");
        if let Some(raw) = self.source.get(event) {
            raw.decode_key(&mut key, &mut ());
        }
        self.keys.push((key, event.span()));
    }

    /// The keys that were read, which are keys indeed.
    fn keys(&mut self) -> Vec<Cow<'a, str>> {
        let (keys, spans): (Vec<_>, Vec<_>) = mem::take(&mut self.keys).into_iter().unzip();
        self.visible.extend(spans);
        keys
    }

    /// Whether a value may be shown.
    fn harmless(&self, span: Span) -> bool {
        let path: Vec<&str> = self.tables.iter().flatten().chain(&self.value).map(|key| &**key).collect();
        let login = self
            .source
            .get(span)
            .is_some_and(|raw| raw.as_str().contains("://") && raw.as_str().contains('@'));
        let known = match path.as_slice() {
            ["handlers", _, key, ..] => is_like(key, &HANDLER, &["config"]),
            [key, ..] => is_like(key, &TOP, &["nats", "registries"]),
            [] => false,
        };
        known && !login
    }
}

/// Whether a key is, or is most like, one of some keys, and not one of others.
fn is_like(key: &str, some: &[&str], others: &[&str]) -> bool {
    let all = some.iter().chain(others).copied();
    nearest(key, all).is_some_and(|nearest| some.contains(&nearest))
}

#[cfg(test)]
mod tests {
    use super::Shown;

    fn shown(text: &str) -> Vec<String> {
        let file = Shown::of(text);
        let mut start = 0;
        let lines = text.split_inclusive('\n').map(|part| {
            let begin = start;
            start += part.len();
            file.line(begin..begin + part.trim_end().len())
        });
        lines.collect()
    }

    #[test]
    fn a_harmless_value_is_shown() {
        for text in [
            "app = 'shop'",
            "shards = 08",
            "[handlers.h]\nretry = { max-attempts = 0, on.trap = 'x' }",
            "[handlers.h.limits]\nmemory = \"a lot\"",
            "handlers.h.subscribe = [ 'a.>',\n 5 ]",
            "[handlers.h]\nplugin = \"oci:a/b@sha256:00\"\nkey = \"{payload./token}\"",
        ] {
            assert_eq!(shown(text).join("\n"), text);
        }
    }

    #[test]
    fn a_secret_is_shown_in_no_line_wherever_and_however_it_is_written() {
        for text in [
            "[nats]\npassword = \"\"\"\nS3CRET\\q\n\"\"\"",
            "[nats]\ntoken = [\n 'S3CRET',,\n]",
            "[nats]\npassword: 'S3CRET'",
            "[nats]\npassword 'S3CRET'",
            "[nats]\npassword = S3CRET",
            "[nats]\npassword = 'S3CRET",
            "nats.password.value = 'S3CRET'",
            "nats = { user = 'password', password = 'S3CRET' }",
            "nats = { token = { env = 'A' }, password = 'S3CRET' }",
            "[nats]\npassword = { env = 'S3CRET', file = 'x' }",
            "[nats.password]\nvalue = 'S3CRET'",
            "[nats]\npasword = 'S3CRET' # S3CRET",
            "[nat]\nTOKEN = 'S3CRET'",
            "[nats\ntoken = 'S3CRET'",
            "[nats] token = 'S3CRET'",
            "[nats]\n\"pass\\u0077ord\" = 'S3CRET'",
            "[nats]\nurl = 'nats://a:S3CRET'",
            "[nats]\nurl = 'a:S3CRET@b'",
            "[registries.'ghcr.io']\ntoken = 'S3CRET'",
            "[handlers.h.config]\nkey = 'S3CRET'",
            "[handlers.h]\nconfig.key = 'S3CRET'",
            "[handlers.h]\nconfg = { key = 'S3CRET' }",
            "[handlers.h.config\nkey = 'S3CRET'",
            "handlers = { h = { config = { key = ['S3CRET'] }, plugin = 5 } }",
            "[handlers.h]\ngrants = { http = ['https://a:S3CRET@b'] }",
            "app = 'shop' # S3CRET",
            "app = 'shop' 'S3CRET'",
            "'S3CRET'",
        ] {
            let shown = shown(text).join("\n");
            assert!(shown.contains("***") && !shown.contains("S3CRET"), "{text}\nis shown as\n{shown}");
        }
    }

    #[test]
    fn of_a_misspelt_key_the_key_is_shown() {
        assert_eq!(shown("[nats]\npasword = 'x'"), ["[nats]", "pasword = ***"]);
    }
}
