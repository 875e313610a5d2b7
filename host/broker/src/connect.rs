//! Connecting: options from settings, the checks that a server must pass, and what the connection says
//! of itself while it lives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::context::AccountErrorKind;
use async_nats::{AuthError, ConnectErrorKind, ConnectOptions, Event, ServerError, jetstream};
use tokio::sync::watch;

use super::denials::Denials;
use super::living::Origin;
use super::login::Login;
use super::rotation::{Rotation, Unusable};
use super::{Broker, Error, OLDEST_SERVER};
use heddle_values::errors::chain;
use heddle_values::settings::{Api, NatsSettings};

/// A dead connection is given up at the third ping without an answer: after 1.5 s.
const PING_INTERVAL: Duration = Duration::from_millis(500);

/// How long a server may take until it is connected to. It doubles while all that was tried took longer, and stays with
/// the connection: what was enough at first is enough later.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// How long a request waits for its answer that the server may have to work for.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// JetStream is not enabled: in the server, or in the account.
const NOT_ENABLED: [u64; 2] = [10076, 10039];

impl Broker {
    /// Connects and checks the server: its version and JetStream. Every server is tried.
    ///
    /// `name` is what the server's monitoring shows.
    ///
    /// # Errors
    /// [`may_pass`](Error::may_pass) says whether it may come about later.
    pub async fn connect(settings: &NatsSettings, name: &str) -> Result<Self, Error> {
        Broker::connect_with(settings, name, Denials::new(settings)).await
    }

    /// Connects as [`connect`](Self::connect) does, for a connection that takes over the denials of the one before.
    pub(super) async fn connect_with(
        settings: &NatsSettings,
        name: &str,
        denials: Denials,
    ) -> Result<Self, Error> {
        let began = Instant::now();
        let url: Arc<str> = settings.url.to_string().into();
        let addresses = settings.url.addresses().map_err(|error| Error::Address(error.to_string()))?;
        let rotation = Rotation::new(addresses)
            .map_err(|Unusable(url)| Error::Address(format!("`{url}` is not the address of a server")))?;
        let rotation = Arc::new(rotation);
        let login = Login::new(settings, Arc::clone(&rotation));
        // What is wrong with the login here is not for the server to say.
        login.answer(b"").await?;
        let line = Line { name: name.to_owned(), rotation, login, losses: watch::Sender::new(0), denials };
        let mut timeout = CONNECT_TIMEOUT;
        loop {
            let (mut causes, mut too_slow) = (Vec::new(), true);
            for _ in line.rotation.named() {
                let options = options(settings, &line).connection_timeout(timeout);
                match Box::pin(options.connect(line.rotation.named())).await {
                    Ok(client) => {
                        let broker = Self::of(client, settings, url, line);
                        let checked = broker.check_server(settings.api == Api::Own).await;
                        checked.map_err(|error| broker.explained(began, error))?;
                        return Ok(broker);
                    }
                    Err(error) => {
                        too_slow &= error.kind() == ConnectErrorKind::TimedOut;
                        causes.push(chain(&error));
                    }
                }
            }
            if !too_slow || timeout >= MAX_CONNECT_TIMEOUT {
                causes.dedup();
                return Err(Error::Connect { url: url.to_string(), cause: advised(causes.join("; ")) });
            }
            timeout *= 2;
        }
    }

    /// What can be worked with, once the server is checked.
    fn of(client: async_nats::Client, settings: &NatsSettings, url: Arc<str>, line: Line) -> Self {
        let mut jetstream = match &settings.api {
            Api::Own => jetstream::new(client.clone()),
            Api::Domain(domain) => jetstream::with_domain(client.clone(), domain),
            Api::Prefix(prefix) => jetstream::with_prefix(client.clone(), prefix),
        };
        jetstream.set_timeout(REQUEST_TIMEOUT);
        let (origin, api) = (Origin::new(settings, &line.name), settings.api.prefix().into());
        let Line { losses, denials, .. } = line;
        Broker { client, jetstream, url, api, losses, denials, origin }
    }

    async fn check_server(&self, own: bool) -> Result<(), Error> {
        let info = self.client.server_info();
        if !is_new_enough(&info.version) {
            return Err(Error::TooOld { url: self.url.to_string(), version: info.version });
        }
        self.permitted(self.check_jetstream(own && !info.jetstream)).await
    }

    /// Whether JetStream answers. `missing`: a server without it was asked.
    async fn check_jetstream(&self, missing: bool) -> Result<(), Error> {
        let Err(error) = self.jetstream.query_account().await else { return Ok(()) };
        let (url, api) = (self.url.to_string(), self.api.to_string());
        Err(match error.kind() {
            AccountErrorKind::JetStream(refusal) if NOT_ENABLED.contains(&refusal.error_code().0) => {
                Error::NoJetStream { url }
            }
            AccountErrorKind::JetStreamUnavailable if missing => Error::NoJetStream { url },
            AccountErrorKind::JetStream(refusal) => Error::NotReady { url, cause: refusal.to_string() },
            _ => Error::NoAnswer { url, api, cause: chain(&error) },
        })
    }
}

/// With what to set, where the library says that it is missing.
fn advised(cause: String) -> String {
    let advice = [
        (
            "CertificateRequired",
            "the server asks for a client's certificate: set `tls.cert` and `tls.key` in `[nats]`",
        ),
        (
            "InvalidContentType",
            "the server answers without TLS: check `tls` in `[nats]` and the scheme of the URL",
        ),
        ("UnknownIssuer", "its certificate is signed by an unknown authority: set `tls.ca` in `[nats]`"),
    ];
    match advice.iter().find(|(text, _)| cause.contains(text)) {
        Some((_, advice)) => format!("{cause}; {advice}"),
        None => cause,
    }
}

fn is_new_enough(version: &str) -> bool {
    let plain = version.split('-').next().unwrap_or_default();
    let mut numbers = plain.split('.').map(|part| part.parse::<u64>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next()) >= OLDEST_SERVER
}

/// What a connection brings along for as long as it lives.
struct Line {
    name: String,
    rotation: Arc<Rotation>,
    login: Login,
    losses: watch::Sender<u64>,
    denials: Denials,
}

fn options(settings: &NatsSettings, line: &Line) -> ConnectOptions {
    let Line { name, rotation, login, losses, denials } = line;
    let login = login.clone();
    let answer = move |nonce: Vec<u8>| {
        let login = login.clone();
        async move {
            login.answer(&nonce).await.map_err(|error| {
                tracing::warn!(%error, "login cannot be read; connecting is tried again");
                AuthError::new(error)
            })
        }
    };
    let mut options = ConnectOptions::with_auth_callback(answer)
        .name(name)
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .custom_inbox_prefix(&settings.inbox_prefix)
        .max_reconnects(None)
        .reconnect_to_server_callback({
            let (rotation, name) = (Arc::clone(rotation), name.clone());
            move |pool, _| std::future::ready(rotation.next(&name, &pool))
        })
        .event_callback({
            let (rotation, name) = (Arc::clone(rotation), name.clone());
            let (losses, denials) = (losses.clone(), denials.clone());
            move |event| {
                match event {
                    Event::Connected => rotation.connected(),
                    Event::Disconnected => losses.send_modify(|losses| *losses += 1),
                    _ => {}
                }
                report(name.clone(), denials.clone(), event)
            }
        })
        .require_tls(settings.tls.required);
    if settings.tls.first {
        options = options.tls_first();
    }
    if settings.ignore_discovered_servers {
        options = options.ignore_discovered_servers();
    }
    if let Some(path) = &settings.tls.ca {
        options = options.add_root_certificates(path.clone());
    }
    if let Some((certificate, key)) = &settings.tls.identity {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    options
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
