//! Connecting: options from settings, the checks that a server must pass, and what the connection says
//! of itself while it lives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{ConnectOptions, Event, ServerError, jetstream};

use super::denials::Denials;
use super::living::Origin;
use super::{Broker, Error, OLDEST_SERVER};
use crate::values::settings::NatsSettings;

/// A dead connection is noticed within two of these.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How long a request waits for its answer.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait between two tries to connect again.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(2);

impl Broker {
    /// Connects and checks the server: its version and JetStream.
    ///
    /// `name` is what the server's monitoring shows.
    pub async fn connect(settings: &NatsSettings, name: &str) -> Result<Self, Error> {
        let url = settings.url.clone();
        let (began, denials) = (Instant::now(), Denials::new(&settings.inbox_prefix));
        let options = options(settings, name, &denials).await?;
        let failed = |cause: String| Error::Connect { url: url.clone(), cause };
        let servers: Vec<String> = url.split(',').map(|server| server.trim().to_owned()).collect();
        let client = options.connect(servers).await.map_err(|error| failed(chain(&error)))?;
        let mut context = jetstream::new(client.clone());
        context.set_timeout(REQUEST_TIMEOUT);
        let origin = Origin::new(settings, name);
        let broker = Broker { client, jetstream: context, url: url.into(), denials, origin };
        broker.check_server().await.map_err(|error| broker.explained(began, error))?;
        Ok(broker)
    }

    async fn check_server(&self) -> Result<(), Error> {
        let info = self.client.server_info();
        if !is_new_enough(&info.version) {
            return Err(Error::TooOld { url: self.url.to_string(), version: info.version });
        }
        match self.jetstream.query_account().await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == jetstream::context::AccountErrorKind::TimedOut => {
                Err(Error::request("ask for the JetStream account", error))
            }
            Err(_) => Err(Error::NoJetStream { url: self.url.to_string() }),
        }
    }
}

fn is_new_enough(version: &str) -> bool {
    let plain = version.split('-').next().unwrap_or_default();
    let mut numbers = plain.split('.').map(|part| part.parse::<u64>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next()) >= OLDEST_SERVER
}

async fn options(settings: &NatsSettings, name: &str, denials: &Denials) -> Result<ConnectOptions, Error> {
    let mut options = ConnectOptions::new()
        .name(name)
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .custom_inbox_prefix(&settings.inbox_prefix)
        .max_reconnects(None)
        // No jitter: one host is one client, there is no herd.
        .reconnect_delay_callback(|attempt| {
            let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
            Duration::from_millis(50).saturating_mul(attempt).min(MAX_RECONNECT_DELAY)
        })
        .event_callback({
            let (name, denials) = (name.to_owned(), denials.clone());
            move |event| report(name.clone(), denials.clone(), event)
        });
    if let Some(path) = &settings.creds {
        let unreadable = |cause: std::io::Error| Error::Credentials {
            path: path.display().to_string(),
            cause: cause.to_string(),
        };
        options = options.credentials_file(path).await.map_err(unreadable)?;
    }
    if let Some(path) = &settings.nkey {
        let seed = tokio::fs::read_to_string(path).await.map_err(|cause| Error::Credentials {
            path: path.display().to_string(),
            cause: cause.to_string(),
        })?;
        options = options.nkey(seed.trim().to_owned());
    }
    options = options.require_tls(settings.tls.required);
    if let Some(path) = &settings.tls.ca {
        options = options.add_root_certificates(path.clone());
    }
    if let Some((certificate, key)) = &settings.tls.identity {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

async fn report(connection: String, denials: Denials, event: Event) {
    match event {
        Event::Connected => tracing::info!(connection, "connected to the server"),
        Event::Disconnected => {
            tracing::warn!(connection, "connection to the server is lost; connecting again")
        }
        Event::LameDuckMode => tracing::warn!("server is about to stop; another one will be used"),
        Event::Draining | Event::Closed => tracing::debug!("connection is closed"),
        Event::SlowConsumer(id) => tracing::warn!(subscription = id, "messages of the server were dropped"),
        Event::ServerError(ServerError::Other(text)) if denials.take(&connection, &text) => {}
        Event::ServerError(error) => tracing::warn!(%error, "server reports an error"),
        Event::ClientError(error) => tracing::debug!(%error, "connection reports an error"),
    }
}

/// An error with all its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Shares one name between several connections of a host.
pub fn connection_name(app: &str, host: &str, role: &str) -> Arc<str> {
    format!("heddle {app} {role} {host}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_older_than_needed_is_recognised() {
        for (version, expected) in
            [("2.15.1", true), ("2.15.0", false), ("2.14.9", false), ("2.16.0-RC.1", true), ("3.0.0", true)]
        {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
    }
}
