//! What is put in the place of a plugin's file: good versions that take turns, and what is no good, each with a digest of
//! its own.

use anyhow::{Context as _, Result, ensure};
use heddle_tests::App;
use heddle_tests::component::{digest, replace, variant};
use heddle_tests::versions::traps;
use rand::RngExt;
use rand::rngs::StdRng;

/// What stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Good,
    /// Nothing that anybody could read.
    Garbage,
    /// The first half of a good one.
    Truncated,
    /// A component that is no handler.
    OtherWorld,
    /// A handler that traps whatever the event.
    Traps,
}

const BAD: [Kind; 4] = [Kind::Garbage, Kind::Truncated, Kind::OtherWorld, Kind::Traps];

/// The files of a campaign.
pub(super) struct Files {
    good: Vec<Vec<u8>>,
    digests: Vec<String>,
    traps: Vec<u8>,
    next: usize,
}

/// One of them.
pub(super) struct Chosen {
    pub(super) kind: Kind,
    pub(super) content: Vec<u8>,
    pub(super) digest: String,
}

impl Files {
    /// N good ones, the first of which runs at the beginning.
    pub(super) fn new(versions: u64) -> Result<Self> {
        ensure!(versions >= 3, "at least three versions take turns");
        let echo = std::fs::read(heddle_tests::plugin("echo")).context("the guests are not built")?;
        let good: Vec<Vec<u8>> = (0..versions).map(|number| variant(&echo, number)).collect();
        let digests = good.iter().map(|component| digest(component)).collect();
        Ok(Files { good, digests, traps: traps(), next: 1 })
    }

    pub(super) fn first(&self) -> &[u8] {
        self.good.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// Has every good version compiled, so that swaps are not about that.
    pub(super) async fn compile(&self) -> Result<()> {
        let app = App::new("app = \"t\"\n[stream]\nname = \"T\"\nsubjects = [\"out.>\", \"in.>\"]\n");
        let mut sections = String::new();
        for (number, component) in self.good.iter().enumerate() {
            replace(&app.folder().join(format!("v{number}.wasm")), component);
            sections +=
                &format!("[handlers.h{number}]\nplugin = \"v{number}.wasm\"\nsubscribe = [\"in.*\"]\n");
        }
        let app = app.append(&sections);
        let output = app.output(&["check", "--offline"]).await;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        Ok(())
    }

    /// The next one: no good with this probability.
    pub(super) fn choose(&mut self, bad: f64, random: &mut StdRng) -> Chosen {
        let kind = match random.random_bool(bad) {
            true => BAD.get(random.random_range(0..BAD.len())).copied().unwrap_or(Kind::Garbage),
            false => Kind::Good,
        };
        let content = match kind {
            Kind::Good => {
                let index = self.next;
                self.next = (index + 1) % self.good.len();
                let digest = self.digests.get(index).cloned().unwrap_or_default();
                return Chosen { kind, content: self.good.get(index).cloned().unwrap_or_default(), digest };
            }
            Kind::Garbage => random.random::<[u8; 32]>().to_vec(),
            Kind::Truncated => {
                let whole = variant(self.first(), random.random());
                let half = whole.get(..whole.len() / 2).unwrap_or_default();
                // Its last bytes tell it from all others.
                [half, &random.random::<[u8; 16]>()].concat()
            }
            Kind::OtherWorld => variant(b"\0asm\x0d\0\x01\0", random.random()),
            Kind::Traps => variant(&self.traps, random.random()),
        };
        Chosen { kind, digest: digest(&content), content }
    }
}
