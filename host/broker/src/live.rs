//! Whether a connection still carries anything: it hears itself, or it is made again.
//!
//! The library's own pings notice a server that has stopped. They do not notice one that answers pings and delivers
//! nothing, or a client whose writing is stuck.

use std::time::{Duration, Instant};

use async_nats::connection::State;
use futures::StreamExt;

use super::Broker;

/// The interval at which the connection sends itself a message.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long the connection may receive nothing of its own before it counts as broken.
const SILENCE: Duration = Duration::from_millis(1_500);

/// How long nothing is sent after the server has denied it.
const DENIED: Duration = Duration::from_secs(60);

/// After N new connections in a row that receive nothing, the permission counts as missing.
const MAX_IN_VAIN: u32 = 3;

/// What is known of the connection's hearing. Reads no clock.
#[derive(Debug)]
struct Ear {
    heard: Instant,
    /// Looked at last.
    looked: Instant,
    /// Whether anything has been heard since the host started. Without a permission nothing ever is.
    ever: bool,
    in_vain: u32,
}

impl Ear {
    fn hears(&mut self, now: Instant) {
        (self.heard, self.ever, self.in_vain) = (now, true, 0);
    }

    /// Whether the connection must be made again.
    fn is_deaf(&mut self, connected: bool, now: Instant) -> bool {
        // Whoever stood still has not listened either.
        let stood_still = now.saturating_duration_since(self.looked) > 2 * INTERVAL;
        self.looked = now;
        if !connected || stood_still {
            self.heard = now;
        }
        let deaf =
            self.ever && self.in_vain < MAX_IN_VAIN && now.saturating_duration_since(self.heard) > SILENCE;
        if deaf {
            (self.heard, self.in_vain) = (now, self.in_vain + 1);
        }
        deaf
    }
}

impl Broker {
    /// Hears itself on `subject`, which no stream may hold, and connects again where it does not. Never ends.
    pub async fn listen_to_itself(mut self, subject: String) {
        loop {
            match self.client.subscribe(subject.clone()).await {
                Ok(echoes) => self.listen_on(&subject, echoes).await,
                Err(error) => tracing::debug!(%error, subject, "connection cannot listen to itself"),
            }
            tokio::time::sleep(INTERVAL).await;
            // If the connection has ended for good and no other takes its place, the next try finds that too.
            if let Ok(living) = self.living().await {
                self = living;
            }
        }
    }

    /// Ends when the subscription does.
    async fn listen_on(&self, subject: &str, mut echoes: async_nats::Subscriber) {
        let now = Instant::now();
        let mut ear = Ear { heard: now, looked: now, ever: false, in_vain: 0 };
        let mut losses = *self.losses.borrow();
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Both arms are cancel-safe: echoes stay in the subscription, ticks in the interval.
            tokio::select! {
                echo = echoes.next() => match echo {
                    Some(_) => ear.hears(Instant::now()),
                    None => return,
                },
                _ = ticks.tick() => {
                    if self.denials.publish_since(now, |denied| denied == subject).is_some() {
                        drop(echoes);
                        return tokio::time::sleep(DENIED).await;
                    }
                    // A new connection has had no time to hear anything.
                    let lost = *self.losses.borrow();
                    let same = std::mem::replace(&mut losses, lost) == lost;
                    let connected = same && self.client.connection_state() == State::Connected;
                    if ear.is_deaf(connected, Instant::now()) {
                        tracing::warn!(subject, "connection does not hear itself; connecting again");
                        self.client.force_reconnect().await.ok();
                    }
                    if connected {
                        // Where the writing is stuck, nobody waits for it: then nothing will be heard.
                        let said = self.client.publish(subject.to_owned(), bytes::Bytes::new());
                        tokio::time::timeout(INTERVAL / 2, said).await.ok();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_made_again_only_where_it_has_become_deaf() {
        let begin = Instant::now();
        let at = |tick: u32| begin + INTERVAL * tick;
        let mut ear = Ear { heard: begin, looked: begin, ever: false, in_vain: 0 };
        assert!(
            !(1..9).any(|tick| ear.is_deaf(true, at(tick))),
            "nothing was ever heard: a permission is missing"
        );
        ear.hears(at(9));
        let deaf: Vec<u32> = (10..40).filter(|tick| ear.is_deaf(true, at(*tick))).collect();
        assert_eq!(deaf, [13, 17, 21], "three tries, and then it is left to the pings");
        ear.hears(at(40));
        assert!(!(41..50).any(|tick| ear.is_deaf(false, at(tick))), "it is known to be lost");
        assert!(!ear.is_deaf(true, at(90)), "the process stood still");
    }
}
