//! What the server says of this connection's own user.

use std::pin::Pin;
use std::time::{Duration, Instant};

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
    data: Option<User>,
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
        let request = async_nats::Request::new().timeout(Some(PATIENCE));
        let began = Instant::now();
        // Cancel-safe: a request that is dropped is only not waited for.
        let answer = tokio::select! {
            answer = self.client.send_request(USER_INFO, request) => answer.ok()?,
            _ = self.denials.publish_denied(began, |subject| subject == USER_INFO) => return None,
        };
        read(&answer.payload)
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

fn read(answer: &[u8]) -> Option<Permissions> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    // Without permissions of its own a user may do everything.
    let told = answer.data?.permissions.unwrap_or_default();
    Some(Permissions { publish: subjects(told.publish), subscribe: subjects(told.subscribe) })
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
        let answer = br#"{"server":{},"data":{"user":"app","account":"$G","permissions":{"publish":{"allow":["in.\u003e"],"deny":["in.x"]},"subscribe":{"allow":["_INBOX.\u003e","q.a group"]}}}}"#;
        let told = read(answer).unwrap();
        assert!(told.publish.permit("in.a") && !told.publish.permit("in.x") && !told.publish.permit("out"));
        assert!(told.subscribe.permit("_INBOX.a") && !told.subscribe.permit("q.a"));
        let all = read(br#"{"data":{"user":"app","account":"$G"}}"#).unwrap();
        assert_eq!(all, Permissions::default());
        assert_eq!(read(br#"{"error":{"code":403}}"#), None);
        assert_eq!(read(b"-"), None);
    }
}
