//! Which dead letters are meant.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::Args;
use futures::{Stream, StreamExt, TryStreamExt};

use crate::assembly::config::parse_duration;
use crate::broker::{Broker, Part};
use crate::values::letter::Letter;
use crate::values::names::{Names, dead};
use crate::values::settings::Settings;
use crate::values::subject::Pattern;

/// Requests under way at once.
const PARALLEL: usize = 64;

/// What dead letters must have in common.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Filter {
    /// The handler that gave up.
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// The cause: retry, defer, reject, decode, effect, trap, limit, key, hops, refused or unreadable.
    #[arg(long, value_name = "CAUSE")]
    cause: Option<String>,
    /// The fingerprint of the cause, or its beginning.
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,
    /// The plugin's digest, or its beginning.
    #[arg(long, value_name = "DIGEST")]
    plugin: Option<String>,
    /// The event's key.
    #[arg(long)]
    key: Option<String>,
    /// The event's subject; wildcards are allowed.
    #[arg(long)]
    subject: Option<Pattern>,
    /// Dead for longer than this, such as "1h" or "3d".
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    older_than: Option<Duration>,
    /// Dead for less than this.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    newer_than: Option<Duration>,
}

/// Single dead letters, those that have something in common, or all.
#[derive(Debug, Clone, Args)]
pub(super) struct Selection {
    /// Sequences of dead letters, as `list --each` shows them.
    #[arg(value_name = "SEQUENCE")]
    sequences: Vec<u64>,
    #[command(flatten)]
    filter: Filter,
    /// All dead letters of the application.
    #[arg(long, conflicts_with = "sequences")]
    all: bool,
}

impl Filter {
    fn is_empty(&self) -> bool {
        let Filter { handler, cause, fingerprint, plugin, key, subject, older_than, newer_than } = self;
        let texts = [handler, cause, fingerprint, plugin, key];
        texts.iter().all(|text| text.is_none())
            && subject.is_none()
            && older_than.is_none()
            && newer_than.is_none()
    }

    /// The narrowest subject that all of them lie under.
    fn subject(&self, names: &Names) -> String {
        match &self.handler {
            Some(handler) => names.dead_letters(handler),
            None => names.all_dead_letters(),
        }
    }

    fn matches(&self, letter: &Letter, now: SystemTime) -> bool {
        let is = |wanted: &Option<String>, header: &str| {
            wanted.as_ref().is_none_or(|wanted| letter.text(header) == *wanted)
        };
        let begins = |wanted: &Option<String>, header: &str| {
            let found = letter.text(header);
            let bare = found.strip_prefix("sha256:").unwrap_or(found);
            wanted.as_ref().is_none_or(|wanted| found.starts_with(&**wanted) || bare.starts_with(&**wanted))
        };
        let subject = |wanted: &Pattern| wanted.matches(letter.text(dead::SUBJECT));
        let stored = SystemTime::UNIX_EPOCH + Duration::from_nanos(letter.stored);
        let age = now.duration_since(stored).unwrap_or_default();
        is(&self.handler, dead::HANDLER)
            && is(&self.cause, dead::CAUSE_CLASS)
            && begins(&self.fingerprint, dead::FINGERPRINT)
            && begins(&self.plugin, dead::PLUGIN)
            && is(&self.key, dead::KEY)
            && self.subject.as_ref().is_none_or(subject)
            && self.older_than.is_none_or(|least| age > least)
            && self.newer_than.is_none_or(|most| age < most)
    }

    /// All that match, in the order of the stream.
    pub(super) async fn read(
        &self,
        broker: &Broker,
        settings: &Settings,
        part: Part,
    ) -> anyhow::Result<impl Stream<Item = anyhow::Result<Letter>>> {
        let subject = self.subject(&Names::new(&settings.app));
        let found = broker.all(&settings.stream.name, &subject, 1, part).await?;
        let now = SystemTime::now();
        let letters = found.map(|stored| Ok(Letter::from(stored?)));
        Ok(letters.try_filter(move |letter| std::future::ready(self.matches(letter, now))))
    }
}

impl Selection {
    /// A single dead letter.
    pub(super) fn of(sequence: u64) -> Self {
        Selection { sequences: vec![sequence], filter: Filter::default(), all: false }
    }

    /// What is selected, in words.
    pub(super) fn describe(&self) -> String {
        if !self.sequences.is_empty() {
            return format!("sequences {:?}", self.sequences);
        }
        if self.filter.is_empty() { "all".to_owned() } else { format!("{:?}", self.filter) }
    }

    /// What is selected, in the order of the stream. It is fixed from then on.
    pub(super) async fn read(
        &self,
        broker: &Broker,
        settings: &Settings,
        part: Part,
    ) -> anyhow::Result<Vec<Letter>> {
        if !self.sequences.is_empty() {
            return self.read_single(broker, settings).await;
        }
        if !self.all && self.filter.is_empty() {
            bail!("select dead letters by their sequences or with filters, or give --all");
        }
        self.filter.read(broker, settings, part).await?.try_collect().await
    }

    async fn read_single(&self, broker: &Broker, settings: &Settings) -> anyhow::Result<Vec<Letter>> {
        let mut sequences = self.sequences.clone();
        sequences.sort_unstable();
        sequences.dedup();
        let stream = &settings.stream.name;
        let names = Names::new(&settings.app);
        let prefix = names.all_dead_letters();
        let prefix = prefix.trim_end_matches('>');
        let read = |sequence: u64| async move {
            let stored = broker.at(stream, sequence).await?;
            let stored = stored.filter(|stored| stored.subject.starts_with(prefix));
            let stored = stored.with_context(|| format!("there is no dead letter {sequence}"))?;
            anyhow::Ok(Letter::from(stored))
        };
        let letters: Vec<Letter> =
            futures::stream::iter(sequences).map(read).buffered(PARALLEL).try_collect().await?;
        let now = SystemTime::now();
        Ok(letters.into_iter().filter(|letter| self.filter.matches(letter, now)).collect())
    }
}
