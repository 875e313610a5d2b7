//! `heddle dead-letters replay`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use tokio::time::Instant;

use super::select::Selection;
use super::wait::{Outcomes, Tally};
use super::{dry_run, edit, letters, progress};
use crate::assembly::cli::audit::audit;
use crate::assembly::cli::{CacheArgs, TargetArgs, check_host};
use crate::broker::{self, Broker, Part};
use crate::values::event::Headers;
use crate::values::letter::Letter;
use crate::values::names::{self, Names};
use crate::values::settings::Settings;

/// Requests that are published at once.
const PARALLEL: usize = 256;

/// Requests under way at once: the host takes them in as it has room.
const WAVE: usize = 20_000;

/// Send dead letters to their handlers again.
///
/// Each reaches only the handler that failed, under its original subject and key, in the order of the key. What is
/// selected is fixed at the start. A dead letter is removed once its replay is committed; if it fails again, a new one
/// takes its place. Replaying twice, or interrupting it, repeats nothing.
///
/// Ends with 1 if any failed again.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    selection: Selection,
    /// So many a second.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Replay so many first, and stop if one of them fails again.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    canary: Option<u32>,
    /// Only run them in this plugin and say how they end. Nothing is stored, nothing is removed.
    #[arg(long, value_name = "PLUGIN", conflicts_with_all = ["rate", "canary", "edit", "no_wait"])]
    dry_run: Option<PathBuf>,
    /// Change the payload of a single dead letter in $VISUAL or $EDITOR first.
    #[arg(long)]
    edit: bool,
    /// Do not wait for the host.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    target: TargetArgs,
}

impl Command {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let (settings, broker) = self.target.connect().await?;
        if let Some(plugin) = &self.dry_run {
            let letters = self.selection.read(&broker, &settings, Part::Whole).await?;
            let settings = self.target.load(crate::assembly::config::Needs::Everything)?;
            return dry_run::run(plugin, &letters, &settings, &broker, &self.cache).await;
        }
        let part = if self.edit { Part::Whole } else { Part::Headers };
        let selected = self.selection.read(&broker, &settings, part).await?;
        check_handlers(&selected, &settings)?;
        let selected = self.readable(selected)?;
        if selected.is_empty() {
            println!("no dead letter is selected");
            return Ok(ExitCode::SUCCESS);
        }
        if !self.no_wait {
            check_host(&broker, &settings, &Names::new(&settings.app)).await?;
        }
        let edited = match (self.edit, selected.as_slice()) {
            (false, _) => None,
            (true, [letter]) => match edit::edit(&letter.payload)? {
                Some(payload) => Some(payload),
                // Here the change is that its headers are dropped.
                None if letter.unreadable().is_some() => Some(letter.payload.clone()),
                None => {
                    println!("nothing was changed: not replayed");
                    return Ok(ExitCode::FAILURE);
                }
            },
            (true, _) => bail!("--edit is for a single dead letter; {} are selected", selected.len()),
        };
        let details = json!({
            "selection": self.selection.describe(),
            "count": selected.len(),
            "edited": edited.is_some(),
            "rate": self.rate,
            "canary": self.canary,
        });
        audit(&broker, &settings, "replay", details).await?;
        let replay = Replay { broker: &broker, settings: &settings, rate: self.rate, edited };
        if self.no_wait {
            let requested = replay.request(&selected, None).await?;
            println!("{} will be replayed", letters(requested));
            return Ok(ExitCode::SUCCESS);
        }
        self.replay(&replay, &selected).await
    }

    /// Those that a handler can be given. One whose headers cannot be read is given without them if it is edited.
    fn readable(&self, mut selected: Vec<Letter>) -> anyhow::Result<Vec<Letter>> {
        let why = |letter: &Letter| letter.unreadable().filter(|_| !self.edit || letter.is_lossy());
        let unreadable = selected.iter().find_map(|letter| Some((letter.sequence, why(letter)?)));
        let Some((sequence, reason)) = unreadable else { return Ok(selected) };
        let (total, lossy) = (selected.len(), selected.iter().any(Letter::is_lossy));
        selected.retain(|letter| why(letter).is_none());
        let left = total - selected.len();
        if selected.is_empty() {
            let edit = if lossy { "" } else { ", or drop what cannot be read of its headers with --edit" };
            bail!(
                "dead letter {sequence} cannot be replayed: {reason}; publish the event again in a form that can be read and discard the dead letter{edit}"
            );
        }
        println!("{} left as they were: no handler can be given an event that cannot be read", letters(left));
        Ok(selected)
    }

    async fn replay(&self, replay: &Replay<'_>, selected: &[Letter]) -> anyhow::Result<ExitCode> {
        let mut outcomes = Outcomes::listen(replay.broker, replay.settings).await?;
        let bar = progress("replaying", selected.len());
        let canary = self.canary.and_then(|n| usize::try_from(n).ok()).unwrap_or(0).min(selected.len());
        let (first, rest) = selected.split_at(canary);
        if !first.is_empty() {
            replay.request(first, Some(&mut outcomes)).await?;
            outcomes.wait(&bar).await?;
            let dead = outcomes.tally.dead;
            if dead > 0 {
                bar.abandon();
                println!(
                    "stopped: {dead} of the first {} failed again; {} left as they were",
                    first.len(),
                    letters(rest.len())
                );
                return Ok(ExitCode::FAILURE);
            }
        }
        for wave in rest.chunks(WAVE) {
            replay.request(wave, Some(&mut outcomes)).await?;
            tokio::select! {
                // Ctrl-C ends the command; what is requested is done all the same.
                result = outcomes.wait(&bar) => result?,
                _ = tokio::signal::ctrl_c() => {
                    bar.abandon();
                    let open = outcomes.open();
                    println!("interrupted: {} under way will still be replayed", letters(open));
                    return Ok(ExitCode::from(130));
                }
            }
        }
        bar.finish_and_clear();
        let Tally { done, dead, gone } = outcomes.tally;
        let gone = if gone > 0 { format!(", {gone} gone before") } else { String::new() };
        println!("{} replayed: {done} done, {dead} dead again{gone}", letters(selected.len()));
        Ok(if dead == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn check_handlers(selected: &[Letter], settings: &Settings) -> anyhow::Result<()> {
    let known = |letter: &&Letter| settings.handlers.iter().any(|handler| *handler.name == *letter.handler());
    match selected.iter().find(|letter| !known(letter)) {
        None => Ok(()),
        Some(letter) => bail!(
            "dead letter {} is of handler `{}`, which the file does not have: select others with --handler, or add it",
            letter.sequence,
            letter.handler()
        ),
    }
}

struct Replay<'a> {
    broker: &'a Broker,
    settings: &'a Settings,
    rate: Option<u32>,
    edited: Option<Bytes>,
}

impl Replay<'_> {
    /// Asks for these dead letters to be sent again, in this order. How many there were; one that is being sent again
    /// already is not asked for twice.
    async fn request(
        &self,
        selected: &[Letter],
        mut outcomes: Option<&mut Outcomes<'_>>,
    ) -> anyhow::Result<usize> {
        let names = Names::new(&self.settings.app);
        let began = Instant::now();
        let paced = futures::stream::iter((0_u32..).zip(selected)).then(|(index, letter)| async move {
            if let Some(rate) = self.rate {
                let due = Duration::from_secs(index.into()) / rate;
                tokio::time::sleep_until(began + due).await;
            }
            letter
        });
        // Sent one after the other, so that they are stored in the order of the selection; answers come in groups.
        let sent = paced.then(|letter| {
            let subject = names.replay(letter.handler(), &letter.sequence.to_string());
            async move { anyhow::Ok((self.send(&subject).await?, subject)) }
        });
        let answer = |(answer, subject): (_, String)| async move {
            Ok((self.answer(answer, &subject).await?, subject))
        };
        let mut sent = std::pin::pin!(sent.map_ok(answer).try_buffered(PARALLEL));
        let mut count = 0;
        while let Some((request, subject)) = sent.try_next().await? {
            count += 1;
            if let (Some(outcomes), Some(request)) = (outcomes.as_deref_mut(), request) {
                outcomes.expect(request, subject);
            }
        }
        Ok(count)
    }

    async fn send(
        &self,
        subject: &str,
    ) -> anyhow::Result<impl Future<Output = Result<Option<u64>, broker::Error>> + use<>> {
        let mut headers = Headers::default();
        let payload = self.edited.clone();
        if payload.is_some() {
            headers.push(names::replay::EDITED, "1");
        }
        Ok(self.broker.send_first(subject, &headers, payload.unwrap_or_default()).await?)
    }

    /// The request's sequence; none if it came to its end meanwhile.
    async fn answer(
        &self,
        answer: impl Future<Output = Result<Option<u64>, broker::Error>>,
        subject: &str,
    ) -> anyhow::Result<Option<u64>> {
        Ok(match answer.await? {
            Some(request) => Some(request),
            None => self.broker.last(&self.settings.stream.name, subject).await?.map(|there| there.sequence),
        })
    }
}
