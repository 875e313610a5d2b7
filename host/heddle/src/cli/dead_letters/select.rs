//! Which dead letters are meant.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use futures::stream::LocalBoxStream;
use futures::{Stream, StreamExt, TryStreamExt};

use crate::cli::fault::Code;
use heddle_broker::{Broker, Part};
use heddle_config::parse_duration;
use heddle_values::dead_letter::DeadLetter;
use heddle_values::key::Key;
use heddle_values::names::{Names, dead};
use heddle_values::settings::Settings;
use heddle_values::subject::Pattern;
use heddle_values::text::unescaped;

/// Dead letters that are read at once where each is asked for by its sequence.
const PARALLEL: usize = 16;

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
    /// The event's key, as it is or as `list --each` shows it.
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

    fn matches(&self, dead_letter: &DeadLetter, now: SystemTime) -> bool {
        let is = |wanted: &Option<String>, header: &str| {
            wanted.as_ref().is_none_or(|wanted| dead_letter.text(header) == *wanted)
        };
        let begins = |wanted: &Option<String>, header: &str| {
            let found = dead_letter.text(header);
            let bare = found.strip_prefix("sha256:").unwrap_or(found);
            wanted.as_ref().is_none_or(|wanted| found.starts_with(&**wanted) || bare.starts_with(&**wanted))
        };
        let subject = |wanted: &Pattern| wanted.matches(dead_letter.text(dead::SUBJECT));
        let stored = SystemTime::UNIX_EPOCH + Duration::from_nanos(dead_letter.stored);
        let age = now.duration_since(stored).unwrap_or_default();
        is(&self.handler, dead::HANDLER)
            && is(&self.cause, dead::CAUSE_CLASS)
            && begins(&self.fingerprint, dead::FINGERPRINT)
            && begins(&self.plugin, dead::PLUGIN)
            && self.key.as_ref().is_none_or(|key| has_key(dead_letter, key))
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
    ) -> anyhow::Result<impl Stream<Item = anyhow::Result<DeadLetter>>> {
        let subject = self.subject(&Names::new(&settings.app));
        let found = broker.all(&settings.stream.name, &subject, 1, part).await?;
        let now = SystemTime::now();
        let dead_letters = found.map(|stored| Ok(DeadLetter::from(stored?)));
        Ok(dead_letters.try_filter(move |dead_letter| std::future::ready(self.matches(dead_letter, now))))
    }
}

/// Whether a dead letter is of a key. What is shown of one with control characters has them escaped.
fn has_key(dead_letter: &DeadLetter, key: &str) -> bool {
    let is = |key: &str| dead_letter.text(dead::KEY_TOKEN) == Key::new(key).token();
    is(key) || unescaped(key).is_some_and(|key| is(&key))
}

/// A dead letter that is selected. There may be any number of them, so no more is kept of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picked {
    pub(super) sequence: u64,
    pub(super) handler: Arc<str>,
    pub(super) unreadable: Option<Box<Unreadable>>,
}

/// Why no handler can be given the event of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) reason: String,
    /// Whether its subject is not known as it was.
    pub(super) lossy: bool,
}

/// The names of handlers, each once in memory.
#[derive(Debug, Default)]
pub(super) struct Handlers(HashSet<Arc<str>>);

impl Handlers {
    pub(super) fn pick(&mut self, dead_letter: &DeadLetter) -> Picked {
        let name = dead_letter.handler();
        let handler = self.0.get(name).cloned().unwrap_or_else(|| {
            let handler: Arc<str> = name.into();
            self.0.insert(Arc::clone(&handler));
            handler
        });
        let unreadable = |reason| Box::new(Unreadable { reason, lossy: dead_letter.is_lossy() });
        Picked {
            sequence: dead_letter.sequence,
            handler,
            unreadable: dead_letter.unreadable().map(unreadable),
        }
    }
}

impl Selection {
    /// What is selected, in words.
    pub(super) fn describe(&self) -> String {
        if !self.sequences.is_empty() {
            return format!("sequences {:?}", self.sequences);
        }
        if self.filter.is_empty() { "all".to_owned() } else { format!("{:?}", self.filter) }
    }

    /// What is selected, in the order of the stream, one after the other.
    pub(super) async fn dead_letters<'a>(
        &'a self,
        broker: &'a Broker,
        settings: &'a Settings,
        part: Part,
    ) -> anyhow::Result<LocalBoxStream<'a, anyhow::Result<DeadLetter>>> {
        if !self.sequences.is_empty() {
            return Ok(self.single(broker, settings).boxed_local());
        }
        if !self.all && self.filter.is_empty() {
            let message = "select dead letters by their sequences or with filters, or give --all";
            return Err(Code::Usage.fault(message).into());
        }
        Ok(self.filter.read(broker, settings, part).await?.boxed_local())
    }

    /// What is selected. It is fixed from then on.
    pub(super) async fn pick(&self, broker: &Broker, settings: &Settings) -> anyhow::Result<Vec<Picked>> {
        let mut handlers = Handlers::default();
        let dead_letters = self.dead_letters(broker, settings, Part::Headers).await?;
        dead_letters.map_ok(|dead_letter| handlers.pick(&dead_letter)).try_collect().await
    }

    fn single<'a>(
        &'a self,
        broker: &'a Broker,
        settings: &'a Settings,
    ) -> impl Stream<Item = anyhow::Result<DeadLetter>> + 'a {
        let mut sequences = self.sequences.clone();
        sequences.sort_unstable();
        sequences.dedup();
        let read = move |sequence: u64| async move {
            dead_letter(broker, settings, sequence).await?.ok_or_else(|| not_found(sequence))
        };
        let now = SystemTime::now();
        let dead_letters = futures::stream::iter(sequences).map(read).buffered(PARALLEL);
        dead_letters.try_filter(move |dead_letter| std::future::ready(self.filter.matches(dead_letter, now)))
    }
}

/// What is wrong with a sequence that is not that of a dead letter.
pub(super) fn not_found(sequence: u64) -> anyhow::Error {
    let text = format!(
        "there is no dead letter {sequence}; `heddle dead-letters list --each` shows their own sequences, which are not those of their events"
    );
    Code::NotFound.fault(text).into()
}

/// The dead letter of a sequence, if there is one.
pub(super) async fn dead_letter(
    broker: &Broker,
    settings: &Settings,
    sequence: u64,
) -> anyhow::Result<Option<DeadLetter>> {
    let dead_letters = Names::new(&settings.app).all_dead_letters();
    let stored = broker.at(&settings.stream.name, sequence).await?;
    let stored = stored.filter(|stored| stored.subject.starts_with(dead_letters.trim_end_matches('>')));
    Ok(stored.map(DeadLetter::from))
}
