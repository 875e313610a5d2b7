//! Held keys: which there are, and the request that one is released.
//!
//! Refuses to know who asks for it, and whether the key is to be released at all.

use std::collections::HashMap;

use heddle_broker::Broker;
use heddle_flow::gates;
use heddle_values::event::Headers;
use heddle_values::gate::{Gate, Phase};
use heddle_values::key::Key;
use heddle_values::names::{self, Names};
use heddle_values::settings::Settings;

/// Every gate that is closed, by handler and key.
pub(super) async fn closed(
    broker: &Broker,
    settings: &Settings,
    names: &Names,
) -> anyhow::Result<HashMap<(String, Key), Gate>> {
    let held = gates::read(broker, &settings.stream.name, names).await?.into_iter();
    let closed = held.filter(|stored| stored.gate.phase == Phase::Closed);
    Ok(closed.map(|stored| ((stored.handler, Key::new(&stored.gate.key)), stored.gate)).collect())
}

/// Asks for a key to be released: that of the dead letter which the subject names, or this one.
pub(super) async fn request_release(
    broker: &Broker,
    settings: &Settings,
    subject: &str,
    key: Option<&Key>,
) -> anyhow::Result<Option<u64>> {
    let mut headers = Headers::from_pairs([(names::replay::RELEASE, "1")]);
    if key.is_some() {
        headers.push(names::replay::KEY, "1");
    }
    let payload = key.map(|key| key.as_str().to_owned()).unwrap_or_default();
    Ok(match broker.publish_first(subject, &headers, payload.into()).await? {
        Some(request) => Some(request),
        None => broker.last(&settings.stream.name, subject).await?.map(|there| there.sequence),
    })
}
