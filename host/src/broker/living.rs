//! Connections that cannot live on.
//!
//! The client library reconnects by itself, but not always: a lone carriage return in the value of a header that it
//! reads ends the task behind the connection for good, and so does a login that is refused. Then another connection has
//! to take its place.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::{Broker, Error};
use crate::values::settings::NatsSettings;

/// How a connection was made, and what took its place since, for all that share it.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) settings: NatsSettings,
    pub(super) name: String,
    successor: Mutex<Option<Broker>>,
}

impl Origin {
    pub(super) fn new(settings: &NatsSettings, name: &str) -> Arc<Self> {
        Arc::new(Origin { settings: settings.clone(), name: name.to_owned(), successor: Mutex::default() })
    }
}

impl Broker {
    /// Another connection to the same server, for reading what others wrote: that may end a connection.
    pub(super) async fn beside(&self, what: &str) -> Result<Self, Error> {
        Broker::connect(&self.origin.settings, &format!("{} {what}", self.origin.name)).await
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
        let made = Broker::connect(&self.origin.settings, &self.origin.name).await?;
        Ok(shared(successor.insert(made)))
    }
}

/// Whether the task behind a client still takes commands.
async fn lives(client: &async_nats::Client) -> bool {
    client.subscribe(client.new_inbox()).await.is_ok()
}
