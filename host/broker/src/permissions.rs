//! What the server says of this connection's own user.
//!
//! Where servers are connected by leaf nodes, the question goes through them as well, and the others answer with what the
//! link between the servers may do. Only the server of this connection is believed.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde::Deserialize;

use super::{Broker, Error};
use heddle_values::permissions::{Permissions, Subjects};
use heddle_values::rights::USER_INFO;
use heddle_values::subject::Pattern;

/// How long the server may take to tell. It answers at once or never: the user may not ask, or has no account that could.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long after a denial others are awaited, which have the same reason.
const MORE_DENIALS: Duration = Duration::from_millis(200);

#[derive(Deserialize)]
struct Answer {
    server: Option<Answering>,
    data: Option<User>,
}

/// The server that answers.
#[derive(Deserialize)]
struct Answering {
    id: Option<String>,
}

#[derive(Deserialize)]
struct User {
    permissions: Option<Told>,
}

#[derive(Deserialize, Default)]
struct Told {
    #[serde(default)]
    publish: Option<Lists>,
    #[serde(default)]
    subscribe: Option<Lists>,
}

#[derive(Deserialize, Default)]
struct Lists {
    #[serde(default)]
    allow: Option<Vec<String>>,
    #[serde(default)]
    deny: Option<Vec<String>>,
}

impl Broker {
    /// What this connection's user may do, or none if the server does not tell.
    pub async fn permissions(&self) -> Option<Permissions> {
        let began = Instant::now();
        // Cancel-safe: a request that is dropped is only not waited for.
        tokio::select! {
            told = tokio::time::timeout(PATIENCE, self.told()) => told.ok()?,
            _ = self.denials.publish_denied(began, |subject| subject == USER_INFO) => None,
        }
    }

    /// The first answer of this connection's own server.
    async fn told(&self) -> Option<Permissions> {
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.ok()?;
        self.client.publish_with_reply(USER_INFO, inbox, Default::default()).await.ok()?;
        loop {
            let answer = answers.next().await?;
            if let Some(told) = read(&answer.payload, &self.server_id()) {
                return told;
            }
        }
    }

    /// What `work` ends with, or an error that says what to grant as soon as the server denies something: what is denied
    /// is not answered, and would be waited for. For reads; a request that has gone out may be carried out all the same.
    pub fn permitted<T, E: From<Error>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, E>> {
        self.until_denied(Box::pin(work))
    }

    async fn until_denied<T, E: From<Error>>(
        &self,
        work: Pin<Box<impl Future<Output = Result<T, E>>>>,
    ) -> Result<T, E> {
        let began = Instant::now();
        let denied = async {
            match self.reading() {
                Some(reading) => tokio::select! {
                    () = self.denials.denied(began) => {}
                    () = reading.denials.denied(began) => {}
                },
                None => self.denials.denied(began).await,
            }
            tokio::time::sleep(MORE_DENIALS).await;
        };
        // Cancel-safe: what is dropped is only not waited for.
        tokio::select! {
            ended = work => ended,
            () = denied => {
                let cause = "the server does not answer what it denies";
                Err(self.denied_since(began, cause).unwrap_or_else(|| Error::request("ask the server", cause)).into())
            }
        }
    }

    /// What the server has denied since a time, as an error that says what to grant; else the error itself.
    pub(super) fn explained(&self, since: Instant, error: Error) -> Error {
        self.denied_since(since, &error.to_string()).unwrap_or(error)
    }

    /// What the server has denied since a time, as the reason for a `cause`; none: nothing.
    pub fn denied_since(&self, since: Instant, cause: &str) -> Option<Error> {
        let mut grants = self.denials.grants_since(since);
        if let Some(reading) = self.reading() {
            grants.extend(reading.denials.grants_since(since));
            grants.sort_unstable();
            grants.dedup();
        }
        (!grants.is_empty()).then(|| Error::Denied { grants, cause: cause.to_owned() })
    }
}

/// What an answer tells, which may be nothing; none if it is not that of the server with this id.
fn read(answer: &[u8], server: &str) -> Option<Option<Permissions>> {
    let Ok(answer) = serde_json::from_slice::<Answer>(answer) else { return Some(None) };
    let id = answer.server.and_then(|server| server.id);
    if id.is_some_and(|id| id != server) {
        return None;
    }
    let told = answer.data.map(|user| {
        // Without permissions of its own a user may do everything.
        let told = user.permissions.unwrap_or_default();
        Permissions { publish: subjects(told.publish), subscribe: subjects(told.subscribe) }
    });
    Some(told)
}

fn subjects(lists: Option<Lists>) -> Subjects {
    let Lists { allow, deny } = lists.unwrap_or_default();
    // What is restricted to a group of subscribers names the group behind a blank; Heddle has no groups.
    let patterns = |texts: Option<Vec<String>>| -> Vec<Pattern> {
        texts.unwrap_or_default().iter().filter_map(|text| text.parse().ok()).collect()
    };
    Subjects { allow: patterns(allow), deny: patterns(deny) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_of_a_user_is_read() {
        let answer = br#"{"server":{"name":"n","id":"NA"},"data":{"user":"app","account":"$G","permissions":{"publish":{"allow":["in.\u003e"],"deny":["in.x"]},"subscribe":{"allow":["_INBOX.\u003e","q.a group"]}}}}"#;
        let told = read(answer, "NA").unwrap().unwrap();
        assert_eq!(read(answer, "NB"), None, "what another server says of its link to this one is not meant");
        assert!(told.publish.permit("in.a") && !told.publish.permit("in.x") && !told.publish.permit("out"));
        assert!(told.subscribe.permit("_INBOX.a") && !told.subscribe.permit("q.a"));
        let all = read(br#"{"data":{"user":"app","account":"$G"}}"#, "NA").unwrap();
        assert_eq!(all, Some(Permissions::default()));
        assert_eq!(read(br#"{"error":{"code":403}}"#, "NA"), Some(None));
        assert_eq!(read(b"-", "NA"), Some(None));
    }
}
