//! The summary: what a saga came to, for people and as JSON.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use crate::check::{Fault, Report, Rule};
use crate::event::{Body, Event, Reason, Stage};

/// How many broken promises are shown in full.
const SHOWN_FAULTS: usize = 20;

const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;
const NANOSECONDS_PER_SECOND: f64 = 1e9;

/// What a saga came to.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Whether every promise was kept.
    pub holds: bool,
    /// How many messages there are of each kind.
    pub counts: Counts,
    /// Events handled: each event once for every handler that reacts to it.
    pub handled: u64,
    /// From the first placed order to the last notice, as the stream stored them.
    pub seconds: f64,
    /// Events handled in a second.
    pub handled_per_second: f64,
    /// From `order.placed` to `order.approved` or `order.cancelled`, as the stream stored them.
    pub latency: Latency,
    /// How many promises of each kind are broken.
    pub broken: Vec<(Rule, usize)>,
    /// The broken promises, in stream order; at most 20.
    pub faults: Vec<Fault>,
}

/// How many messages there are of each kind.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Customers who placed an order.
    pub customers: u64,
    /// `order.placed`
    pub placed: u64,
    /// `order.created`
    pub created: u64,
    /// `credit.reserved`
    pub reserved: u64,
    /// `credit.exceeded`
    pub exceeded: u64,
    /// `order.approved`
    pub approved: u64,
    /// `order.cancelled` because the credit did not reach.
    pub cancelled_credit: u64,
    /// `order.cancelled` because the item is no longer made.
    pub cancelled_discontinued: u64,
    /// `credit.released`
    pub released: u64,
    /// `notice.sent`
    pub notices: u64,
    /// Events given up.
    pub dead_letters: u64,
}

/// Times from placed to settled.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the orders were settled within N milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 orders were settled within N milliseconds.
    pub p99_ms: f64,
}

impl Summary {
    /// Sums a report up. A stream without orders keeps no promise: nothing was shown.
    pub fn of(report: &Report) -> Self {
        let counts = Counts::of(report);
        let handled = report.events.iter().map(Event::readers).sum();
        let seconds = seconds(&report.events);
        let mut broken: Vec<(Rule, usize)> = Vec::new();
        for fault in &report.faults {
            match broken.iter_mut().find(|(rule, _)| *rule == fault.rule) {
                Some((_, count)) => *count += 1,
                None => broken.push((fault.rule, 1)),
            }
        }
        Self {
            holds: report.faults.is_empty() && counts.placed > 0,
            handled,
            seconds,
            handled_per_second: if seconds > 0.0 { handled as f64 / seconds } else { 0.0 },
            latency: Latency::of(&report.events),
            broken,
            faults: report.faults.iter().take(SHOWN_FAULTS).cloned().collect(),
            counts,
        }
    }
}

impl Counts {
    fn of(report: &Report) -> Self {
        let mut counts = Self { dead_letters: report.dead_letters, ..Self::default() };
        let mut customers: HashMap<&str, ()> = HashMap::new();
        for event in &report.events {
            let count = match &event.body {
                Body::Placed(_) => {
                    customers.insert(&event.customer, ());
                    &mut counts.placed
                }
                Body::Created(_) => &mut counts.created,
                Body::Reserved(_) => &mut counts.reserved,
                Body::Exceeded(_) => &mut counts.exceeded,
                Body::Approved(_) => &mut counts.approved,
                Body::Cancelled(order) => match order.reason {
                    Reason::Credit => &mut counts.cancelled_credit,
                    Reason::Discontinued => &mut counts.cancelled_discontinued,
                },
                Body::Released(_) => &mut counts.released,
                Body::Notice(_) => &mut counts.notices,
            };
            *count += 1;
        }
        counts.customers = customers.len() as u64;
        counts
    }
}

impl Latency {
    fn of(events: &[Event]) -> Self {
        let mut placed: HashMap<&str, u64> = HashMap::new();
        let mut times = Vec::new();
        for event in events {
            match event.stage() {
                Stage::Placed => {
                    placed.entry(event.order()).or_insert(event.time);
                }
                Stage::Settled => {
                    times.extend(placed.get(event.order()).map(|start| event.time.saturating_sub(*start)))
                }
                _ => {}
            }
        }
        times.sort_unstable();
        let ms = |percent| percentile(&times, percent) as f64 / NANOSECONDS_PER_MILLISECOND;
        Self { p50_ms: ms(50), p99_ms: ms(99) }
    }
}

/// The smallest value that is not below N percent of all values; 0 of none.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

fn seconds(events: &[Event]) -> f64 {
    let first = events.iter().find(|event| event.stage() == Stage::Placed);
    let last = events.iter().rev().find(|event| event.stage() == Stage::Noticed);
    match (first, last) {
        (Some(first), Some(last)) => last.time.saturating_sub(first.time) as f64 / NANOSECONDS_PER_SECOND,
        _ => 0.0,
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.counts;
        let cancelled = c.cancelled_credit + c.cancelled_discontinued;
        writeln!(f, "orders        {} of {} customers", c.placed, c.customers)?;
        writeln!(f, "approved      {}", c.approved)?;
        writeln!(
            f,
            "cancelled     {cancelled} ({} for their credit, {} discontinued)",
            c.cancelled_credit, c.cancelled_discontinued
        )?;
        writeln!(f, "released      {} credits", c.released)?;
        writeln!(f, "notices       {}", c.notices)?;
        writeln!(f, "events        {} handled in {:.2} s", self.handled, self.seconds)?;
        writeln!(f, "throughput    {:.0} events/s", self.handled_per_second)?;
        writeln!(
            f,
            "latency       p50 {:.0} ms, p99 {:.0} ms, from placed to settled",
            self.latency.p50_ms, self.latency.p99_ms
        )?;
        writeln!(f, "dead letters  {}", c.dead_letters)?;
        if c.placed == 0 {
            return write!(f, "checked       nothing: the stream holds no orders");
        }
        if self.holds {
            return write!(
                f,
                "checked       every order ended once, every customer's events in order: all holds"
            );
        }
        let kinds: Vec<_> = self.broken.iter().map(|(rule, count)| format!("{count} {rule}")).collect();
        write!(f, "checked       BROKEN: {}", kinds.join(", "))?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        let faults: usize = self.broken.iter().map(|(_, count)| count).sum();
        match faults.saturating_sub(self.faults.len()) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;
    use crate::check::model::saga;

    #[test]
    fn the_summary_counts_what_the_stream_holds() {
        let saga = saga(200, 20, 7);
        let summary = Summary::of(&check(&saga.messages, &saga.terms()));
        let c = &summary.counts;
        assert!(summary.holds);
        assert_eq!((c.placed, c.created, c.notices), (200, 200, 200));
        assert_eq!(c.reserved + c.exceeded, 200);
        assert_eq!(c.approved + c.cancelled_credit + c.cancelled_discontinued, 200);
        assert_eq!((c.cancelled_credit, c.cancelled_discontinued), (c.exceeded, c.released));
        assert_eq!(summary.handled, 4 * 200 + c.cancelled_credit + c.cancelled_discontinued);
        let seconds = (saga.messages.len() - 1) as f64 / 1_000.0;
        assert!(summary.seconds <= seconds && summary.seconds > 0.9 * seconds, "{}", summary.seconds);
    }

    #[test]
    fn an_empty_stream_shows_nothing() {
        let saga = saga(0, 1, 7);
        assert!(!Summary::of(&check(&saga.messages, &saga.terms())).holds);
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!(percentile(&values, 50), 100);
        assert_eq!(percentile(&values, 99), 198);
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile(&[], 99), 0);
    }

    #[test]
    fn faults_are_shown_up_to_a_bound_and_all_counted() {
        let mut saga = saga(200, 20, 7);
        saga.messages.retain(|message| !message.subject.starts_with("notice"));
        let summary = Summary::of(&check(&saga.messages, &saga.terms()));
        assert_eq!(summary.faults.len(), SHOWN_FAULTS);
        assert_eq!(summary.broken, [(Rule::Lost, 200)]);
        assert!(summary.to_string().ends_with("\n  and 180 more"));
    }
}
