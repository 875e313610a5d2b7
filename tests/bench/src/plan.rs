//! The plan: which runs there are, in groups whose members take turns.

use std::time::Duration;

use crate::variant::{Variant, rounds};
use crate::workload::{Job, Store, Workload};

/// The work of the variants that work.
const WORK: Duration = Duration::from_micros(20);

/// How thorough the benchmark is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Shows that everything works. Its figures mean little.
    Quick,
    /// All events and all rounds: about half an hour, and figures to compare.
    Full,
}

/// Runs that take turns, so that whatever disturbs the machine disturbs all of them.
#[derive(Debug, Clone)]
pub struct Group {
    /// The group's name, as `--only` takes it: one of [`GROUPS`], or `latency`.
    pub name: &'static str,
    /// What it asks, for the reader of the table.
    pub title: &'static str,
    /// Where the group's server keeps its streams.
    pub store: Store,
    /// How often each entry runs. The tables show the medians.
    pub rounds: usize,
    /// What is run, one after the other, in each round.
    pub entries: Vec<Entry>,
}

/// A variant and what it works on.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// What the tables call it.
    pub name: &'static str,
    /// Who does the job. Its concurrency is replaced by the best of its choices before the first round.
    pub variant: Variant,
    /// What the input stream holds when the run begins.
    pub workload: Workload,
}

/// The names of all groups, and what they ask.
pub const GROUPS: [(&str, &str); 7] = [
    ("job", "The job: 1,000 keys, 256 B, one handler, a file system in memory"),
    ("disk", "The same on disk"),
    ("payload", "Larger events"),
    ("keys", "From one hot key to many keys"),
    ("handlers", "One handler, or many on subjects of their own; 1,000 keys together"),
    ("overwrite", "1,000 keys against 1,000,000, each overwritten several times"),
    ("backlog", "A long backlog"),
];

/// Where events wait, and how many.
fn workload(keys: u64, payload: usize, events: u64) -> Workload {
    Workload { keys, handlers: 1, payload, events, job: Job::Echo }
}

fn entry(variant: Variant, workload: Workload) -> Entry {
    Entry { name: variant.name(), variant, workload }
}

/// All groups of a size for one kind of store. `nanos_per_round` is what a round of the guest's work takes.
pub fn groups(size: Size, store: Store, nanos_per_round: f64) -> Vec<Group> {
    let quick = size == Size::Quick;
    let few = |full: u64, quick_size: u64| if quick { quick_size } else { full };
    let rounds = |full: usize| if quick { 1 } else { full };
    let group = |name: &'static str, store, rounds, entries| {
        let title = GROUPS.iter().find(|(known, _)| *known == name).map_or("", |(_, title)| *title);
        Group { name, title, store, rounds, entries }
    };
    let base = workload(1_000, 256, few(300_000, 20_000));
    let both = |workload: Workload| [entry(Variant::Fresh, workload), entry(Variant::Reuse, workload)];
    let payload = |bytes, events| {
        let workload = workload(1_000, bytes, events);
        [Variant::Limit(2), Variant::Naive(256), Variant::Fresh, Variant::Reuse]
            .map(|variant| entry(variant, workload))
    };
    let keys = |keys| {
        let workload = workload(keys, 256, few(200_000, 10_000));
        [entry(Variant::Limit(4), workload), entry(Variant::Fresh, workload), entry(Variant::Reuse, workload)]
    };
    let handlers = |handlers| both(Workload { handlers, ..workload(1_000, 256, few(200_000, 10_000)) });
    let overwrite = |keys| entry(Variant::Reuse, workload(keys, 256, few(4_000_000, 20_000)));
    let backlog = |events| entry(Variant::Reuse, workload(1_000, 256, events));
    vec![
        group("job", store, rounds(5), job(base, few(100_000, 2_000), nanos_per_round)),
        group("disk", Store::Disk, rounds(3), all_variants(base, few(50_000, 500))),
        group(
            "payload",
            store,
            rounds(3),
            [payload(1 << 10, few(150_000, 5_000)), payload(16 << 10, few(30_000, 1_000))].concat(),
        ),
        group("keys", store, rounds(3), [keys(1), keys(20), keys(1_000), keys(100_000)].concat()),
        group("handlers", store, rounds(3), [handlers(1), handlers(8), handlers(64)].concat()),
        group("overwrite", store, rounds(1), vec![overwrite(1_000), overwrite(few(1_000_000, 5_000))]),
        group("backlog", store, 1, vec![backlog(few(1_000_000, 30_000)), backlog(few(10_000_000, 60_000))]),
    ]
}

fn job(base: Workload, careful_events: u64, nanos_per_round: f64) -> Vec<Entry> {
    let read = Workload { job: Job::Read, ..base };
    let work = Workload { job: rounds(WORK, nanos_per_round), ..base };
    let mut entries = all_variants(base, careful_events);
    entries.extend([
        entry(Variant::Cursor, read),
        Entry { name: "heddle fresh reading only", variant: Variant::Fresh, workload: read },
        Entry { name: "heddle reuse reading only", variant: Variant::Reuse, workload: read },
        Entry { name: "heddle fresh with 20 µs of work", variant: Variant::Fresh, workload: work },
        Entry { name: "heddle reuse with 20 µs of work", variant: Variant::Reuse, workload: work },
    ]);
    entries
}

/// Everybody who does the whole job.
fn all_variants(base: Workload, careful_events: u64) -> Vec<Entry> {
    vec![
        entry(Variant::Limit(2), base),
        entry(Variant::Naive(256), base),
        entry(Variant::Careful(256), Workload { events: careful_events, ..base }),
        entry(Variant::Fresh, base),
        entry(Variant::Reuse, base),
    ]
}
