//! What a test gives: its events as messages, and the states that its keys have before the first of them.
//!
//! Promises that a test gives the same in memory and over a real server. Refuses to know where it is played.

use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;

use super::case::{self, Case, GivenEvent};
use super::record::Publication;
use heddle_values::event::Headers;
use heddle_values::handlers::HandlerIx;
use heddle_values::key::Key;
use heddle_values::settings::{HandlerSettings, Settings};

/// An event of a test as the message that is published.
pub(super) fn publication(
    case: &Case,
    given: &GivenEvent,
    settings: &Settings,
) -> anyhow::Result<Publication> {
    let payload = case::bytes(given.payload.as_deref(), given.payload_base64.as_deref(), given.json.as_ref())
        .context("`payload`")?;
    let of_handler = case.handler.as_ref().and_then(|name| settings.handler(name));
    Ok(Publication {
        stream: match &given.stream {
            Some(stream) => Some(stream.as_str().into()),
            None => of_handler.map(|handler| Arc::clone(&handler.stream)),
        },
        sequence: given.sequence,
        subject: given.subject.clone(),
        headers: Headers::from_pairs(given.headers.0.clone()),
        payload: payload.unwrap_or_default(),
        key: given.key.as_deref().map(Key::new),
    })
}

/// The state of a key before the first event.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) handler: HandlerIx,
    pub(super) key: Key,
    pub(super) state: Bytes,
}

/// The states that a test gives. The handlers are those that take part.
pub(super) fn given_states(case: &Case, settings: &Settings) -> anyhow::Result<Vec<Given>> {
    let place = |name: Option<&String>| match name.or(case.handler.as_ref()) {
        Some(name) => {
            let found = settings.handlers.find(|handler| *handler.name == **name);
            found.with_context(|| format!("no handler `{name}` takes part in this test"))
        }
        None if settings.handlers.len() == 1 => Ok(HandlerIx::FIRST),
        None => bail!("a state is given: say of which `handler`"),
    };
    let mut given = Vec::new();
    let state = case::bytes(case.state.as_deref(), case.state_base64.as_deref(), None).context("`state`")?;
    if let (Some(state), Some(first)) = (state, case.events.first()) {
        let handler = place(None)?;
        let key = first_key(case, first, &settings.handlers[handler], settings)?;
        given.push(Given { handler, key, state });
    }
    for of in &case.states {
        let handler = place(of.handler.as_ref())?;
        let state = case::bytes(of.text.as_deref(), of.base64.as_deref(), of.json.as_ref());
        let state = state.with_context(|| format!("state of key `{}`", of.key))?;
        given.push(Given { handler, key: Key::new(&of.key), state: state.unwrap_or_default() });
    }
    Ok(given)
}

fn first_key(
    case: &Case,
    first: &GivenEvent,
    handler: &HandlerSettings,
    settings: &Settings,
) -> anyhow::Result<Key> {
    if let Some(key) = &first.key {
        return Ok(Key::new(key));
    }
    let publication = publication(case, first, settings)?;
    let event = publication.as_event(settings);
    handler.key.key(&event).context("`state` is given, but the first event has no key")
}
