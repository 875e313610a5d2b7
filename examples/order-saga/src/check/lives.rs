//! Each order's life: which events there are of each stage. Nothing is lost, nothing is there twice.

use std::collections::BTreeMap;

use super::{Fault, Rule, Terms};
use crate::event::{Body, Event, Stage};

/// The events of one order, by stage, each in stream order.
#[derive(Debug, Default)]
pub(super) struct Life<'a> {
    stages: BTreeMap<Stage, Vec<&'a Event>>,
}

impl<'a> Life<'a> {
    /// The first event of a stage.
    pub(super) fn first(&self, stage: Stage) -> Option<&'a Event> {
        self.all(stage).first().copied()
    }

    fn all(&self, stage: Stage) -> &[&'a Event] {
        self.stages.get(&stage).map_or(&[], Vec::as_slice)
    }

    /// Whether an order that reached the stage before this one must reach this one too.
    fn must_reach(&self, stage: Stage) -> bool {
        let reserved = matches!(self.first(Stage::Decided).map(|e| &e.body), Some(Body::Reserved(_)));
        let cancelled = matches!(self.first(Stage::Settled).map(|e| &e.body), Some(Body::Cancelled(_)));
        stage != Stage::Released || (reserved && cancelled)
    }
}

/// The lives of all orders, by name.
#[derive(Debug)]
pub(super) struct Lives<'a>(BTreeMap<&'a str, Life<'a>>);

impl<'a> Lives<'a> {
    /// Sorts events into lives.
    pub(super) fn of(events: &'a [Event]) -> Self {
        let mut lives: BTreeMap<&str, Life<'_>> = BTreeMap::new();
        for event in events {
            let life = lives.entry(event.order()).or_default();
            life.stages.entry(event.stage()).or_default().push(event);
        }
        Self(lives)
    }

    /// The first event of a stage of an order.
    pub(super) fn first(&self, order: &str, stage: Stage) -> Option<&'a Event> {
        self.0.get(order)?.first(stage)
    }

    /// The event that an event must have come from; none for what comes from outside, or if it is not there.
    pub(super) fn origin(&self, event: &Event) -> Option<&'a Event> {
        let (_, stage) = event.stage().origin()?;
        self.first(event.order(), stage)
    }

    /// All lives.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Life<'a>> {
        self.0.values()
    }
}

/// Every acknowledged order is where the server said it is.
pub(super) fn acknowledged(lives: &Lives<'_>, terms: &Terms<'_>, faults: &mut Vec<Fault>) {
    for entry in terms.acknowledged {
        let placement = &entry.order.placement;
        let found = lives.first(&placement.order, Stage::Placed).is_some_and(|event| {
            event.sequence == entry.sequence
                && event.customer == entry.order.customer
                && event.body == Body::Placed(placement.clone())
        });
        if !found {
            let text = format!(
                "order `{}` was acknowledged here, but is not here as it was placed",
                placement.order
            );
            faults.push(Fault::new(Rule::Lost, entry.sequence, text));
        }
    }
}

/// Every order passes each stage exactly once.
pub(super) fn once(lives: &Lives<'_>, faults: &mut Vec<Fault>) {
    for life in lives.iter() {
        for stage in Stage::ALL {
            repeated(life, stage, faults);
            missing(life, stage, faults);
        }
    }
}

fn repeated(life: &Life<'_>, stage: Stage, faults: &mut Vec<Fault>) {
    for event in life.all(stage).iter().skip(1) {
        let text = format!("order `{}` has another {}", event.order(), stage.subjects());
        faults.push(Fault::new(Rule::Duplicate, event.sequence, text));
    }
}

/// A stage is missing if the one before it is there; what follows a missing stage is not reported again.
fn missing(life: &Life<'_>, stage: Stage, faults: &mut Vec<Fault>) {
    let Some(before) = stage.origin().and_then(|(_, before)| life.first(before)) else { return };
    match (life.must_reach(stage), life.all(stage).first()) {
        (true, None) => {
            let text = format!("order `{}` has no {}", before.order(), stage.subjects());
            faults.push(Fault::new(Rule::Lost, before.sequence, text));
        }
        (false, Some(event)) => {
            let text =
                format!("order `{}` has {}, but had no credit to release", event.order(), stage.subjects());
            faults.push(Fault::new(Rule::Phantom, event.sequence, text));
        }
        (true, Some(_)) | (false, None) => {}
    }
}
