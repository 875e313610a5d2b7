//! `heddle dead-letters replay`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::select::{Picked, Selection, dead_letter, not_found};
use super::wait::{FailedAgain, Outcomes, Tally};
use super::{dead_letters, dry_run, edit, progress};
use crate::cli::audit::audit;
use crate::cli::consent::Yes;
use crate::cli::fault::Code;
use crate::cli::{CacheArgs, TargetArgs, check_host};
use crate::print::{self, say, visible};
use heddle_broker::{self as broker, Broker};
use heddle_config::Needs;
use heddle_values::event::Headers;
use heddle_values::names::{self, Names};
use heddle_values::settings::Settings;
use heddle_values::text::header_text;

/// Requests that are published at once.
const PARALLEL: usize = 256;

/// Requests under way at once: the host takes them in as it has room.
const WAVE: usize = 20_000;

/// The longest message that is shown, in bytes.
const MAX_MESSAGE: usize = 200;

/// Replay dead letters to their handlers.
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
    /// Replays per second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Replay N first, and stop if one of them fails again.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    canary: Option<u32>,
    /// Replay nothing and say how many are selected; with a PLUGIN, run them in it and say how they end.
    #[arg(long, value_name = "PLUGIN", num_args = 0..=1, conflicts_with_all = ["rate", "canary", "edit", "no_wait"])]
    dry_run: Option<Option<PathBuf>>,
    /// Change the payload of a single dead letter in $VISUAL or $EDITOR first.
    #[arg(long)]
    edit: bool,
    /// Do not wait for the host.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    _yes: Yes,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    target: TargetArgs,
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<ExitCode> {
        let (settings, broker) = self.target.connect().await?;
        let selected = self.selection.pick(&broker, &settings).await?;
        if let Some(Some(plugin)) = &self.dry_run {
            let (settings, _) = self.target.load(Needs::Everything)?;
            return dry_run::run(plugin, &selected, (&settings, &broker), &self.cache, json).await;
        }
        check_handlers(&selected, &settings)?;
        let selected = self.readable(selected, json)?;
        if selected.is_empty() || self.dry_run.is_some() {
            return self.say_selected(selected.len(), json);
        }
        if !self.no_wait {
            check_host(&broker, &settings, &Names::new(&settings.app)).await?;
        }
        let edited = match self.edit {
            false => None,
            true => match edited(&broker, &settings, &selected).await? {
                Some(payload) => Some(payload),
                None => {
                    Report { unchanged: true, ..Report::default() }
                        .print(json, "nothing was changed: not replayed")?;
                    return Ok(ExitCode::FAILURE);
                }
            },
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
            let report = Report { selected: requested, ..Report::default() };
            report.print(json, &format!("{} will be replayed", dead_letters(requested)))?;
            return Ok(ExitCode::SUCCESS);
        }
        self.replay(&replay, &selected, json).await
    }

    fn say_selected(&self, selected: usize, json: bool) -> anyhow::Result<ExitCode> {
        let text = match selected {
            0 => "no dead letter is selected".to_owned(),
            _ => format!("{} would be replayed", dead_letters(selected)),
        };
        Report { selected, dry_run: self.dry_run.is_some(), ..Report::default() }.print(json, &text)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Those that a handler can be given. One whose headers cannot be read is given without them if it is edited.
    fn readable(&self, mut selected: Vec<Picked>, json: bool) -> anyhow::Result<Vec<Picked>> {
        let edit = self.edit;
        let why = |picked: &Picked| picked.unreadable.clone().filter(|unreadable| !edit || unreadable.lossy);
        let unreadable = selected.iter().find_map(|picked| Some((picked.sequence, why(picked)?)));
        let Some((sequence, unreadable)) = unreadable else { return Ok(selected) };
        let total = selected.len();
        selected.retain(|picked| why(picked).is_none());
        if selected.is_empty() {
            let edit = if unreadable.lossy {
                ""
            } else {
                ", or drop what cannot be read of its headers with --edit"
            };
            anyhow::bail!(
                "dead letter {sequence} cannot be replayed: {}; publish the event again in a form that can be read and discard the dead letter{edit}",
                unreadable.reason
            );
        }
        if !json {
            let left = dead_letters(total - selected.len());
            say!("{left} left as they were: no handler can be given an event that cannot be read")?;
        }
        Ok(selected)
    }

    async fn replay(&self, replay: &Replay<'_>, selected: &[Picked], json: bool) -> anyhow::Result<ExitCode> {
        let mut outcomes = Outcomes::listen(replay.broker, replay.settings).await?;
        let bar = progress("replaying", selected.len());
        let canary = self.canary.and_then(|n| usize::try_from(n).ok()).unwrap_or(0).min(selected.len());
        let (first, rest) = selected.split_at(canary);
        let report = Report { selected: selected.len(), ..Report::default() };
        if !first.is_empty() {
            replay.request(first, Some(&mut outcomes)).await?;
            outcomes.wait(&bar).await?;
            let dead = outcomes.tally.dead;
            if dead > 0 {
                bar.abandon();
                let text = format!(
                    "stopped: {dead} of the first {} failed again; {} left as they were",
                    first.len(),
                    dead_letters(rest.len())
                );
                Report { left: rest.len(), ..report.with(&mut outcomes) }.print(json, &text)?;
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
                    let text = format!("interrupted: {} under way will still be replayed", dead_letters(open));
                    Report { under_way: open, ..report.with(&mut outcomes) }.print(json, &text)?;
                    return Ok(ExitCode::from(Code::Interrupted.exit()));
                }
            }
        }
        bar.finish_and_clear();
        let Tally { done, dead, gone, incomplete } = outcomes.tally;
        let gone = if gone > 0 { format!(", {gone} gone before") } else { String::new() };
        let incomplete_text = match incomplete {
            0 => String::new(),
            n => format!(
                ", {n} left: their payloads were left out, and their events are no longer in the stream"
            ),
        };
        let text = format!(
            "{} replayed: {done} done, {dead} dead again{gone}{incomplete_text}",
            dead_letters(selected.len())
        );
        report.with(&mut outcomes).print(json, &text)?;
        Ok(if dead + incomplete == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// How a replay ended.
#[derive(Debug, Default, Serialize)]
struct Report {
    dry_run: bool,
    selected: usize,
    done: usize,
    /// They became dead letters again.
    dead: usize,
    /// They were gone before.
    gone: usize,
    /// They are not whole, and the rest of their events is no longer in the stream: they stay.
    incomplete: usize,
    /// Not replayed, because one of the first failed again.
    left: usize,
    /// Requested, and still open when the command was interrupted.
    under_way: usize,
    /// The editor left the payload as it was: nothing was replayed.
    unchanged: bool,
    /// The first that became dead letters again, and why.
    failed_again: Vec<FailedAgain>,
}

impl Report {
    fn with(self, outcomes: &mut Outcomes<'_>) -> Self {
        let Tally { done, dead, gone, incomplete } = outcomes.tally;
        let failed_again = std::mem::take(&mut outcomes.failed_again);
        Report { done, dead, gone, incomplete, failed_again, ..self }
    }

    fn print(&self, json: bool, text: &str) -> anyhow::Result<()> {
        if json {
            return print::json(self);
        }
        say!("{text}")?;
        for FailedAgain { was, sequence, cause, message } in &self.failed_again {
            let message = header_text(message, MAX_MESSAGE);
            say!("dead letter {was} failed again and is now {sequence}: {}: {message}", visible(cause))?;
        }
        match self.dead.saturating_sub(self.failed_again.len()) {
            0 => {}
            more => say!("and {more} more: `heddle dead-letters list` shows why")?,
        }
        Ok(())
    }
}

/// The payload of the only dead letter after the user has edited it; none if it is as it was.
async fn edited(broker: &Broker, settings: &Settings, selected: &[Picked]) -> anyhow::Result<Option<Bytes>> {
    let [Picked { sequence, .. }] = selected else {
        let message = format!("--edit is for a single dead letter; {} are selected", selected.len());
        return Err(Code::Usage.fault(message).into());
    };
    let dead_letter = dead_letter(broker, settings, *sequence).await?;
    let dead_letter = dead_letter.ok_or_else(|| not_found(*sequence))?;
    let edited = edit::edit(&dead_letter.payload)?;
    // Where its headers cannot be read, the change is that they are dropped.
    Ok(edited.or_else(|| dead_letter.unreadable().is_some().then(|| dead_letter.payload.clone())))
}

fn check_handlers(selected: &[Picked], settings: &Settings) -> anyhow::Result<()> {
    match selected.iter().find(|dead_letter| settings.handler(&dead_letter.handler).is_none()) {
        None => Ok(()),
        Some(Picked { sequence, handler, .. }) => Err(Code::NotFound
            .fault(format!(
                "dead letter {sequence} is of handler `{}`, which the file does not have: select others with --handler, or add it",
                visible(handler)
            ))
            .into()),
    }
}

struct Replay<'a> {
    broker: &'a Broker,
    settings: &'a Settings,
    rate: Option<u32>,
    edited: Option<Bytes>,
}

impl Replay<'_> {
    /// Requests the replay of these dead letters, in this order. How many there were; one that is being replayed already
    /// is not requested twice.
    async fn request(
        &self,
        selected: &[Picked],
        mut outcomes: Option<&mut Outcomes<'_>>,
    ) -> anyhow::Result<usize> {
        let names = Names::new(&self.settings.app);
        let began = Instant::now();
        let paced = futures::stream::iter((0_u32..).zip(selected)).then(|(index, dead_letter)| async move {
            if let Some(rate) = self.rate {
                let due = Duration::from_secs(index.into()) / rate;
                tokio::time::sleep_until(began + due).await;
            }
            dead_letter
        });
        // Sent one after the other, so that they are stored in the order of the selection; answers come in groups.
        let sent = paced.then(|dead_letter| {
            let subject = names.replay(&dead_letter.handler, &dead_letter.sequence.to_string());
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
