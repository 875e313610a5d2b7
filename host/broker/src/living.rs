//! Connections that cannot live on.
//!
//! The client library reconnects by itself, but not always: a lone carriage return in the value of a header that it
//! reads ends the task behind the connection for good, and so does a login that is refused. Then another connection has
//! to take its place.

use std::sync::{Arc, OnceLock};

use tokio::sync::Mutex;

use super::{Broker, Error};
use heddle_values::settings::NatsSettings;

/// How a connection was made, and what took its place since, for all that share it.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) settings: NatsSettings,
    pub(super) name: String,
    successor: Mutex<Option<Broker>>,
    /// The connection for what others wrote; none: this one.
    reading: OnceLock<Broker>,
}

impl Origin {
    pub(super) fn new(settings: &NatsSettings, name: &str) -> Arc<Self> {
        let (settings, name) = (settings.clone(), name.to_owned());
        Arc::new(Origin { settings, name, successor: Mutex::default(), reading: OnceLock::new() })
    }
}

impl Broker {
    /// From now on lists and watches are read through `reading`, for all that share this connection: what others wrote
    /// may end it, and nothing is committed there.
    pub fn read_through(&self, reading: &Broker) {
        self.origin.reading.get_or_init(|| reading.clone());
    }

    /// The connection to read what others wrote through.
    pub(super) fn for_reading(&self) -> Self {
        self.reading().unwrap_or(self).clone()
    }

    /// That connection, if it is another one.
    pub(super) fn reading(&self) -> Option<&Broker> {
        self.origin.reading.get()
    }

    /// Another connection to the same server, for reading what others wrote: that may end a connection. What it is denied
    /// counts as denied to this one.
    pub(super) async fn beside(&self, what: &str) -> Result<Self, Error> {
        let name = format!("{} {what}", self.origin.name);
        Broker::connect_with(&self.origin.settings, &name, self.denials.clone()).await
    }

    /// This connection while the task behind it lives, be it connected or not; else one that takes its place, the same
    /// for all that share it.
    pub(super) async fn living(&self) -> Result<Self, Error> {
        if lives(&self.client).await {
            return Ok(self.clone());
        }
        // Held while connecting, so that only one connection is made.
        let mut successor = self.origin.successor.lock().await;
        let shared = |made: &Broker| Broker { origin: Arc::clone(&self.origin), ..made.clone() };
        if let Some(made) = &*successor
            && lives(&made.client).await
        {
            return Ok(shared(made));
        }
        tracing::warn!(
            connection = self.origin.name,
            "connection has ended for good; another one takes its place"
        );
        let (settings, name) = (&self.origin.settings, &self.origin.name);
        let made = Broker::connect_with(settings, name, self.denials.clone()).await?;
        Ok(shared(successor.insert(made)))
    }
}

/// Whether the task behind a client still takes commands.
async fn lives(client: &async_nats::Client) -> bool {
    client.subscribe(client.new_inbox()).await.is_ok()
}
