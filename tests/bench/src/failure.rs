//! Failure handling under load: poisoned keys beside healthy ones, many dead letters, and long queues behind one key.
//!
//! The guest is `contrary`, whose events say what is to be done with them. Whether an event that can fail does is up to
//! the handler's settings, so that a clean run and one with failures read the same events.

mod app;
mod dead_letters;
mod memory;
mod storm;

use anyhow::Result;
use serde::Serialize;

use crate::plan::Size;
use crate::report::{Ratio, Target, median};
use crate::rig::Rig;
use crate::workload::Store;

/// What can be measured alone.
pub const PARTS: [&str; 3] = ["storm", "dead_letters", "stuck"];

/// Something that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What the table of ratios calls it.
    pub name: &'static str,
    /// What it is, for the reader of the table.
    pub what: String,
    /// The median of the rounds.
    pub value: f64,
    /// The lowest of the rounds; for a comparison, the lowest ratio of a round.
    pub lowest: f64,
    /// The highest of the rounds; for a comparison, the highest ratio of a round.
    pub highest: f64,
    /// What `value` must reach or stay below; with [`Target::None`] it is only shown.
    #[serde(skip)]
    pub target: Target,
}

impl Figure {
    fn new(name: &'static str, what: impl Into<String>, values: Vec<f64>, target: Target) -> Self {
        Figure {
            name,
            what: what.into(),
            lowest: values.iter().copied().fold(f64::INFINITY, f64::min),
            highest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            value: median(values),
            target,
        }
    }

    /// What a storm makes of something: the ratio of the medians, and the extremes of each round for itself.
    fn compared(name: &'static str, what: &str, [clean, storm]: [Vec<f64>; 2], target: Target) -> Self {
        let ratios = storm.iter().zip(&clean).map(|(storm, clean)| storm / clean).collect();
        let (storm, clean) = (median(storm), median(clean));
        let what = format!("{what}: {storm:.1} against {clean:.1}");
        Figure { value: storm / clean, ..Figure::new(name, what, ratios, target) }
    }

    /// The figure as a promise, if it is one.
    pub fn ratio(&self) -> Option<Ratio> {
        (self.target != Target::None).then(|| Ratio::new(self.name, self.value, self.target))
    }
}

/// Measures what is wanted. `say` is told what is under way.
pub async fn measure(
    size: Size,
    store: Store,
    wanted: impl Fn(&str) -> bool,
    say: &impl Fn(String),
) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    if wanted("storm") {
        figures.extend(storm::measure(&mut Rig::start(store).await?, size, say).await?);
    }
    if wanted("dead_letters") {
        figures.extend(dead_letters::measure(&mut Rig::start(store).await?, size, say).await?);
    }
    if wanted("stuck") {
        figures.extend(memory::measure(store, size, say).await?);
    }
    Ok(figures)
}
