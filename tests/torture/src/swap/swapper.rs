//! The swapper: replaces the file, and waits in the host's log for what became of it.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use heddle_tests::component::replace;
use rand::rngs::StdRng;
use serde::Serialize;

use super::files::{Chosen, Files, Kind};
use super::read_from;
use crate::judge::{Order, note};
use crate::streams::now;

/// How often the log is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// How long the host may take to decide.
const PATIENCE: Duration = Duration::from_secs(60);

/// Digits of a digest in the log.
const SHORT: usize = 12;

/// What became of the files.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Tally {
    live: usize,
    refused: usize,
    rolled_back: usize,
    /// Of those that went live: the median of the milliseconds from the file to the whole change.
    #[serde(skip)]
    pub(super) millis: Vec<u32>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { live, refused, rolled_back, .. } = self;
        write!(f, "{live} live, {refused} refused, {rolled_back} rolled back")
    }
}

/// Replaces a file again and again.
pub(super) struct Swapper {
    files: Files,
    plugin: PathBuf,
    log: PathBuf,
    /// So much of the log was read.
    offset: u64,
    order: Order,
    pub(super) tally: Tally,
    pub(super) marks: Marks,
}

/// When the host changed something, in nanoseconds since 1970.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks {
    /// A good version went on trial, or live.
    pub(super) taken: Vec<u64>,
    /// A bad version went on trial, or was rolled back.
    pub(super) tried: Vec<u64>,
    /// A version was refused.
    pub(super) refused: Vec<u64>,
}

/// What the host says of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    OnTrial,
    Live,
    Refused,
    RolledBack,
}

const NEWS: [(&str, News); 4] = [
    ("version is on trial", News::OnTrial),
    ("version is live", News::Live),
    ("version is refused", News::Refused),
    ("version is rolled back", News::RolledBack),
];

impl Swapper {
    pub(super) fn new(files: Files, plugin: PathBuf, log: PathBuf, order: Order) -> Self {
        Swapper { files, plugin, log, offset: 0, order, tally: Tally::default(), marks: Marks::default() }
    }

    /// Replaces the file once and waits for the end of it, which must be what was to be expected.
    pub(super) async fn swap(&mut self, bad: f64, random: &mut StdRng) -> Result<()> {
        let Chosen { kind, content, digest } = self.files.choose(bad, random);
        if kind == Kind::Good {
            note(&self.order, &digest);
        }
        let began = Instant::now();
        replace(&self.plugin, &content);
        let hex = digest.trim_start_matches("sha256:").get(..SHORT).unwrap_or_default().to_owned();
        let end = self.end_of(&hex, kind, began).await?;
        match (kind, end) {
            (Kind::Good, News::Live) => {
                self.tally.live += 1;
                self.tally.millis.push(u32::try_from(began.elapsed().as_millis())?);
            }
            (Kind::Traps, News::RolledBack) => self.tally.rolled_back += 1,
            (Kind::Garbage | Kind::Truncated | Kind::OtherWorld, News::Refused) => self.tally.refused += 1,
            (kind, end) => bail!("{kind:?} version {hex} ended as {end:?}"),
        }
        Ok(())
    }

    async fn end_of(&mut self, hex: &str, kind: Kind, began: Instant) -> Result<News> {
        loop {
            let text = read_from(&self.log, &mut self.offset);
            for line in text.lines().filter(|line| line.contains(hex)) {
                let Some((_, news)) = NEWS.iter().find(|(text, _)| line.contains(text)) else { continue };
                let Marks { taken, tried, refused } = &mut self.marks;
                let marks = match (news, kind) {
                    (News::Refused, _) => refused,
                    (_, Kind::Good) => taken,
                    _ => tried,
                };
                marks.push(now());
                if *news != News::OnTrial {
                    return Ok(*news);
                }
            }
            if began.elapsed() > PATIENCE {
                bail!("nothing becomes of version {hex}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
