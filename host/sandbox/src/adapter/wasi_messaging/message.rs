//! A message that a guest holds: the event itself, or one that it makes.

use std::sync::Arc;

use bytes::Bytes;

use heddle_values::effects::{self, is_reserved_header};
use heddle_values::event::{Event, Headers};

/// The header that is a field of its own to the draft, and so is not among the metadata.
const CONTENT_TYPE: &str = "Content-Type";

/// About what a message takes beside its texts and its data, and each entry of its metadata, in bytes.
const OVERHEAD: usize = 128;

/// What a handle of the guest stands for.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings name it")]
pub struct Message {
    /// The event that it is, if it came to the handler.
    event: Option<Arc<Event>>,
    pub(super) content_type: Option<String>,
    pub(super) data: Bytes,
    pub(super) metadata: Vec<(String, String)>,
}

impl Message {
    /// One that the guest makes.
    pub(super) fn new(data: Bytes) -> Self {
        Message { event: None, content_type: None, data, metadata: Vec::new() }
    }

    /// The event as it came.
    pub(super) fn received(event: Arc<Event>) -> Self {
        let (mut content_type, mut metadata) = (None, Vec::with_capacity(event.headers.len()));
        for (name, value) in event.headers.iter() {
            if content_type.is_none() && name.eq_ignore_ascii_case(CONTENT_TYPE) {
                content_type = Some(value.to_owned());
            } else {
                metadata.push((name.to_owned(), value.to_owned()));
            }
        }
        let data = event.payload.clone();
        Message { event: Some(event), content_type, data, metadata }
    }

    /// Where it came from, if it came to the handler.
    pub(super) fn topic(&self) -> Option<&str> {
        self.event.as_ref().map(|event| &*event.subject)
    }

    /// Whether it is this event.
    pub(super) fn is(&self, event: &Arc<Event>) -> bool {
        self.event.as_ref().is_some_and(|own| Arc::ptr_eq(own, event))
    }

    /// Takes the place of all entries of this name.
    pub(super) fn add(&mut self, name: String, value: String) {
        self.remove(&name);
        self.metadata.push((name, value));
    }

    /// Removes all entries of this name.
    pub(super) fn remove(&mut self, name: &str) {
        self.metadata.retain(|(known, _)| known != name);
    }

    /// About how much of the host's memory it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        let entries = self.metadata.iter().map(|(name, value)| OVERHEAD + name.len() + value.len());
        let content_type = self.content_type.as_ref().map_or(0, String::len);
        OVERHEAD + self.data.len() + content_type + entries.sum::<usize>()
    }

    /// What is published of it while `event` runs. Headers of the host that were only passed on from the event are left
    /// out, since each message gets its own; others of such names stay, to be refused.
    pub(super) fn publish(self, topic: String, event: &Event) -> effects::Message {
        let (headers, payload) = self.content(event);
        effects::Message { subject: topic.into(), headers, payload }
    }

    /// Headers and payload of what is published.
    pub(super) fn content(self, event: &Event) -> (Headers, Bytes) {
        let passed_on = |name: &str, value: &str| {
            is_reserved_header(name) && event.headers.iter().any(|header| header == (name, value))
        };
        let content_type = self.content_type.into_iter().map(|value| (CONTENT_TYPE.to_owned(), value));
        let rest = self.metadata.into_iter().filter(|(name, value)| !passed_on(name, value));
        (Headers::from_pairs(content_type.chain(rest)), self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_values::event::Source;

    fn event(headers: &[(&'static str, &'static str)]) -> Arc<Event> {
        Arc::new(Event {
            stream: "S".into(),
            sequence: 1,
            subject: "in.a".into(),
            time: 0,
            headers: Headers::from_pairs(headers.iter().copied()),
            payload: "p".into(),
            source: Source::Stream,
        })
    }

    fn pairs(headers: &Headers) -> Vec<(&str, &str)> {
        headers.iter().collect()
    }

    #[test]
    fn the_content_type_is_no_metadata() {
        let event = event(&[("Kind", "x"), ("content-type", "text/plain"), ("Kind", "y")]);
        let message = Message::received(Arc::clone(&event));
        assert_eq!(message.content_type.as_deref(), Some("text/plain"));
        let kinds = [("Kind".to_owned(), "x".to_owned()), ("Kind".to_owned(), "y".to_owned())];
        assert_eq!(message.metadata, kinds);
        let (headers, _) = message.content(&event);
        assert_eq!(pairs(&headers), [("Content-Type", "text/plain"), ("Kind", "x"), ("Kind", "y")]);
    }

    #[test]
    fn headers_of_the_host_are_not_passed_on_and_forged_ones_stay_to_be_refused() {
        let event = event(&[("Heddle-Cause", "S/0"), ("traceparent", "t"), ("Kind", "x")]);
        let mut message = Message::received(Arc::clone(&event));
        message.add("Heddle-Hops".to_owned(), "0".to_owned());
        message.add("traceparent".to_owned(), "forged".to_owned());
        let (headers, _) = message.content(&event);
        assert_eq!(pairs(&headers), [("Kind", "x"), ("Heddle-Hops", "0"), ("traceparent", "forged")]);
    }

    #[test]
    fn an_entry_takes_the_place_of_all_of_its_name() {
        let mut message = Message::received(event(&[("a", "1"), ("b", "2"), ("a", "3")]));
        message.add("a".to_owned(), "4".to_owned());
        let expected = [("b".to_owned(), "2".to_owned()), ("a".to_owned(), "4".to_owned())];
        assert_eq!(message.metadata, expected);
    }

    #[test]
    fn a_message_is_the_event_it_came_as_and_no_other() {
        let (one, other) = (event(&[]), event(&[]));
        let message = Message::received(Arc::clone(&one));
        assert!(message.is(&one) && !message.is(&other));
        assert!(!Message::new(Bytes::new()).is(&one));
    }
}
