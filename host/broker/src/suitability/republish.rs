//! Streams that republish what they store: onto what the application reads, that is a loop.

use super::StreamFacts;
use super::{Reading, Suitability, Wrong};
use heddle_values::subject::Pattern;

/// Where a stream republishes onto what the application itself reads or stores. `others` are the other streams that the
/// application reads, with their subjects.
pub(crate) fn republished(
    reading: Reading<'_>,
    found: &StreamFacts,
    is_own: bool,
    others: &[(&str, &[String])],
) -> Suitability {
    let mut suitability = Suitability::default();
    let Some(republish) = &found.0.republish else { return suitability };
    let Some(destination) = destination(&republish.destination) else { return suitability };
    let is = format!("{} to {}", republish.source, republish.destination);
    let meets = |subjects: &[String]| subjects.iter().any(|subject| overlaps(&destination, subject));
    if meets(&reading.names.stream_subjects()) {
        let wrong = Wrong::new(
            "republish",
            is.as_str(),
            "elsewhere",
            "its copies would overwrite what the application stores about itself",
        );
        suitability.faults.push(wrong.edit(reading.stream));
    }
    for (other, _) in others.iter().filter(|(_, subjects)| meets(subjects)) {
        if is_own {
            let mut fault = Wrong::new("republish", is.as_str(), "elsewhere", "").edit(reading.stream);
            fault.why = format!("stream `{other}` stores the copies and the application reads it: a loop");
            suitability.faults.push(fault);
        } else {
            suitability.differences.push(format!(
                "it is republished into stream `{other}`: whoever reads both gets its events twice"
            ));
        }
    }
    suitability
}

/// A destination of the server's subject mapping as a pattern: what it fills in is any token.
fn destination(text: &str) -> Option<Pattern> {
    let token =
        |token: &str| if token.starts_with("{{") || token.starts_with('$') { "*" } else { token }.to_owned();
    // Arguments of a mapping function may have dots and blanks in them, so they go first.
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        plain.push_str(before);
        plain.push('*');
        rest = after.split_once("}}").map_or("", |(_, behind)| behind);
    }
    plain.push_str(rest);
    plain.split('.').map(token).collect::<Vec<_>>().join(".").parse().ok()
}

fn overlaps(pattern: &Pattern, subject: &str) -> bool {
    subject.parse().is_ok_and(|subject: Pattern| pattern.overlaps(&subject))
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::stream::{Config, Republish};

    use super::*;
    use heddle_values::names::Names;

    #[test]
    fn a_stream_that_republishes_onto_what_is_read_is_a_loop() {
        let names = Names::new("t");
        let judge = |destination: &str, is_own: bool| {
            let republish =
                Republish { source: "in.*".into(), destination: destination.into(), headers_only: false };
            let facts = StreamFacts(Config { republish: Some(republish), ..Config::default() });
            let reading = Reading { stream: "T", names: &names, handlers: 1, max_payload: 1 << 20 };
            let ext = ["ext.*".to_owned()];
            republished(reading, &facts, is_own, &[("EXT", &ext)])
        };
        assert_eq!(judge("elsewhere.{{wildcard(1)}}", true), Suitability::default());
        assert!(judge("ext.{{wildcard(1)}}", true).faults[0].why.contains("a loop"));
        assert_eq!(judge("ext.$1", false).faults, []);
        assert_eq!(judge("ext.$1", false).differences.len(), 1);
        assert_eq!(judge("_heddle.t.{{partition(3, 1)}}", false).faults.len(), 1);
    }
}
