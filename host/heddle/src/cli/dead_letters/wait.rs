//! Waiting for what becomes of requests.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::Context;
use indicatif::ProgressBar;
use serde::Serialize;

use super::list::cause;
use heddle_broker::{Broker, EventTail, Stored};
use heddle_values::dead_letter::DeadLetter;
use heddle_values::names::{self, Names};
use heddle_values::settings::Settings;
use heddle_values::subject::Pattern;

/// How long nothing may be heard of requests before it is checked whether they still exist.
const QUIET: Duration = Duration::from_secs(2);

/// How long the dead letters of requests that are done may take to vanish.
const REMOVAL: Duration = Duration::from_secs(30);

/// How many dead letters that failed again are told of one by one. There may be any number of them.
pub(super) const TOLD: usize = 20;

/// In a commit, at most the mark of its key lies between a dead letter and the outcome of its request.
const BEFORE_OUTCOME: u64 = 2;

/// A dead letter that failed again.
#[derive(Debug, Serialize)]
pub(super) struct FailedAgain {
    /// The sequence that it had.
    pub(super) was: u64,
    /// The sequence of the one that has taken its place.
    pub(super) sequence: u64,
    pub(super) cause: String,
    pub(super) message: String,
}

/// How requests ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) done: usize,
    /// They became dead letters again.
    pub(super) dead: usize,
    /// Their dead letters were gone before.
    pub(super) gone: usize,
    /// They are not whole, and the rest of their events is no longer in the stream: they stay.
    pub(super) incomplete: usize,
}

/// Hears what comes of requests, from the moment it is made.
pub(super) struct Outcomes<'a> {
    broker: &'a Broker,
    settings: &'a Settings,
    names: Names,
    tail: EventTail,
    /// Requests without an outcome, and their subjects.
    open: HashMap<u64, String>,
    /// The subjects of all requests since the last wait.
    asked: HashSet<String>,
    pub(super) tally: Tally,
    /// The first that failed again, at most [`TOLD`].
    pub(super) failed_again: Vec<FailedAgain>,
}

impl<'a> Outcomes<'a> {
    pub(super) async fn listen(broker: &'a Broker, settings: &'a Settings) -> anyhow::Result<Self> {
        let names = Names::new(&settings.app);
        let stream = &settings.stream.name;
        let next = broker.stream_state(stream).await?.last + 1;
        let filter: Pattern = names.all_replayed().parse().context("the application's name is sound")?;
        let tail = broker.tail(stream, &[filter], Some(next)).await?;
        Ok(Outcomes {
            broker,
            settings,
            names,
            tail,
            open: HashMap::new(),
            asked: HashSet::new(),
            tally: Tally::default(),
            failed_again: Vec::new(),
        })
    }

    /// A request is stored.
    pub(super) fn expect(&mut self, request: u64, subject: String) {
        self.asked.insert(subject.clone());
        self.open.insert(request, subject);
    }

    /// How many requests have no outcome yet.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Waits until every request has an outcome and its dead letter is removed.
    pub(super) async fn wait(&mut self, bar: &ProgressBar) -> anyhow::Result<()> {
        while !self.open.is_empty() {
            match tokio::time::timeout(QUIET, self.tail.next()).await {
                Ok(message) => {
                    let message = message?;
                    let last = message.subject.rsplit('.').next().unwrap_or_default();
                    let Some(request) = last.parse().ok().filter(|request| self.open.contains_key(request))
                    else {
                        continue;
                    };
                    self.end(request, &message, bar).await?;
                }
                Err(_) => self.look_for_gone(bar).await?,
            }
        }
        tokio::time::timeout(REMOVAL, self.removed()).await.ok().transpose()?;
        // There may be many more to come.
        self.asked.clear();
        Ok(())
    }

    async fn end(&mut self, request: u64, outcome: &Stored, bar: &ProgressBar) -> anyhow::Result<()> {
        let subject = self.open.remove(&request).unwrap_or_default();
        match outcome.headers.get(names::replay::OUTCOME) {
            Some(names::replay::DEAD) => {
                self.tally.dead += 1;
                if self.failed_again.len() < TOLD {
                    self.failed_again.extend(self.why(&subject, outcome.sequence).await?);
                }
            }
            _ => self.tally.done += 1,
        }
        bar.inc(1);
        Ok(())
    }

    /// Why a request ended in a dead letter, by that dead letter: it is stored right before the outcome. None: it is gone.
    async fn why(&self, request: &str, outcome: u64) -> anyhow::Result<Option<FailedAgain>> {
        let Some((handler, was)) = self.names.parse_replay(request) else { return Ok(None) };
        let subjects = self.names.dead_letters(handler);
        for sequence in (1..=BEFORE_OUTCOME).filter_map(|back| outcome.checked_sub(back)) {
            let stored = self.broker.at(&self.settings.stream.name, sequence).await?;
            let stored = stored.filter(|stored| stored.subject.starts_with(subjects.trim_end_matches('>')));
            if let Some(dead_letter) = stored.map(DeadLetter::from) {
                let message = dead_letter.text(names::dead::MESSAGE).to_owned();
                let was = was.parse().context("a request names its dead letter")?;
                return Ok(Some(FailedAgain { was, sequence, cause: cause(&dead_letter), message }));
            }
        }
        Ok(None)
    }

    /// Requests that are no longer there have come to their end: before this began to listen, if they have an outcome,
    /// and else because their dead letters were gone.
    async fn look_for_gone(&mut self, bar: &ProgressBar) -> anyhow::Result<()> {
        let there = self.requests().await?;
        let gone: Vec<(u64, String)> = self
            .open
            .iter()
            .filter(|(_, subject)| !there.contains(*subject))
            .map(|(request, subject)| (*request, subject.clone()))
            .collect();
        for (request, subject) in gone {
            let (handler, dead_letter) = self.names.parse_replay(&subject).unwrap_or_default();
            let outcome = self.names.replayed(handler, &request.to_string());
            match self.broker.last(&self.settings.stream.name, &outcome).await? {
                Some(outcome) => self.end(request, &outcome, bar).await?,
                None => {
                    self.open.remove(&request);
                    // One that is still there could not be replayed: it is not whole.
                    let there = match dead_letter.parse() {
                        Ok(dead_letter) => {
                            self.broker.at(&self.settings.stream.name, dead_letter).await?.is_some()
                        }
                        Err(_) => false,
                    };
                    *(if there { &mut self.tally.incomplete } else { &mut self.tally.gone }) += 1;
                    bar.inc(1);
                }
            }
        }
        Ok(())
    }

    async fn requests(&self) -> anyhow::Result<HashSet<String>> {
        let subjects = self.broker.subjects(&self.settings.stream.name, &self.names.replays()).await?;
        Ok(subjects.into_iter().map(|(subject, _)| subject).collect())
    }

    /// Dead letters are removed before their requests.
    async fn removed(&self) -> anyhow::Result<()> {
        while !self.asked.is_disjoint(&self.requests().await?) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}
