//! Waiting for answers: long enough for a server that works, and no longer where the answer cannot come any more.
//!
//! A server that is frozen answers nothing, and neither does a cluster that elects: then a caller that waits for one long
//! time-out is blocked for that long after all is well again. So what may be asked twice is asked again soon, and a
//! commit, which may take long, is given up as soon as its answer is known to be lost.

use std::error::Error as StdError;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::commit::{CommitError, unanswered};
use super::connect::REQUEST_TIMEOUT;
use super::{Broker, Error};
use heddle_values::errors::chain;

/// The interval at which a request that may be repeated is sent until there is an answer.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// The wait before a request is repeated for which there was no responder.
const AGAIN: Duration = Duration::from_millis(100);

/// How long the server may take to store a batch. It gives a batch up 10 s after its last message.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(12);

/// After this long without an answer to a commit it is asked whether the stream still has its leader.
const DOUBT: Duration = Duration::from_millis(500);

/// How long the leader may take to say that it is there.
const LEADER_TIMEOUT: Duration = Duration::from_millis(500);

/// Whether nobody answered, or only somebody who said that the one who could is not there. Each of the library's requests
/// has a kind of error of its own, and some lose the cause; what they have in common is what they say.
pub(super) fn is_missing(error: &(dyn StdError + 'static)) -> bool {
    const SIGNS: [&str; 5] =
        ["timed out", "no responders", "resource does not exist", "JetStream unavailable", "(code 503,"];
    let text = chain(error);
    SIGNS.iter().any(|sign| text.contains(sign))
}

impl Broker {
    /// JetStream, with another time-out for its requests.
    pub(super) fn within(&self, timeout: Duration) -> jetstream::Context {
        let mut context = self.jetstream.clone();
        context.set_timeout(timeout);
        context
    }

    /// Asks for what may be asked again until there is an answer, also to an earlier try: a server that was frozen or not
    /// elected yet never answers what it was asked before. Only for what costs the server little. Gives up after
    /// [`REQUEST_TIMEOUT`] or somewhat later.
    pub(super) async fn ask<T, F>(&self, request: impl Fn(jetstream::Context) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let began = Instant::now();
        let mut tries = FuturesUnordered::new();
        let mut next = began;
        loop {
            // Both arms are cancel-safe: tries stay in their set, and the moment of the next one is kept.
            tokio::select! {
                () = tokio::time::sleep_until(next.into()), if tries.is_empty() || began.elapsed() < REQUEST_TIMEOUT => {
                    let left = REQUEST_TIMEOUT.saturating_sub(began.elapsed());
                    tries.push(request(self.within(left + ASK_EVERY)));
                    next = Instant::now() + ASK_EVERY;
                }
                Some(answer) = tries.next() => match answer {
                    Err(Error::Unanswered { .. }) if began.elapsed() < REQUEST_TIMEOUT => {
                        next = next.min(Instant::now() + AGAIN);
                    }
                    answer => return answer,
                },
            }
        }
    }

    /// Sends the last message of a batch and waits for the answer as long as it can come: until the connection is lost,
    /// the stream has had no leader meanwhile, or the time is up.
    pub(super) async fn answer_to(
        &self,
        stream: &str,
        subject: &str,
        request: async_nats::Request,
    ) -> Result<async_nats::Message, CommitError> {
        let mut losses = self.losses.subscribe();
        losses.mark_unchanged();
        let request = request.timeout(Some(COMMIT_TIMEOUT));
        let answer = self.client.send_request(subject.to_owned(), request);
        tokio::pin!(answer);
        let doubt = self.leader_was_away(stream);
        tokio::pin!(doubt);
        // All three are only borrowed, and none of them is used once another has ended.
        tokio::select! {
            answer = &mut answer => answer.map_err(unanswered),
            _ = losses.changed() => Err(CommitError::Unanswered("the connection was lost".to_owned())),
            () = &mut doubt => Err(CommitError::Unanswered("the stream had no leader meanwhile".to_owned())),
        }
    }

    /// Ends once the stream has a leader again after it had none. Never where it has one all the time.
    async fn leader_was_away(&self, stream: &str) {
        let jetstream = self.within(LEADER_TIMEOUT);
        let mut was_away = false;
        loop {
            tokio::time::sleep(if was_away { AGAIN } else { DOUBT }).await;
            let is_there = jetstream.get_stream(stream).await.is_ok();
            if is_there && was_away {
                return;
            }
            was_away |= !is_there;
        }
    }
}
