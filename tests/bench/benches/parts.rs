//! The parts of an event's journey, one by one: `cargo bench -p heddle-bench`.
//!
//! Needs `heddle` and the guests: `cargo xtask setup` and `cargo build --release` come first.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the benchmark")]

use std::hint::black_box;
use std::num::NonZeroU32;

use criterion::{Criterion, criterion_group, criterion_main};
use heddle_bench::parts::{Batches, Guest, Lanes, checkpoint, event, routing};
use heddle_bench::workload::Job;
use heddle_values::checkpoint::Checkpoint;
use heddle_values::key::KeyTemplate;
use heddle_values::policy::Instances;

fn flow(criterion: &mut Criterion) {
    let mut route = routing().unwrap();
    criterion.bench_function("route and key", |bench| bench.iter(&mut route));
    let mut lanes = Lanes::new();
    criterion.bench_function("shard step", |bench| bench.iter(|| lanes.event()));
    let mut batches = Batches::new();
    criterion.bench_function("shard step and batch", |bench| bench.iter(|| batches.event()));
}

fn values(criterion: &mut Criterion) {
    let full = checkpoint();
    criterion.bench_function("checkpoint, encode", |bench| bench.iter(|| black_box(&full).encode()));
    let bytes = full.encode();
    criterion.bench_function("checkpoint, decode", |bench| {
        bench.iter(|| Checkpoint::decode(black_box(&bytes)).unwrap())
    });
    let event = event(7, Job::Echo);
    for text in ["{subject.2}", "{subject.1}-{subject.2}", "{event}"] {
        let template: KeyTemplate = text.parse().unwrap();
        let name = format!("key template {text}");
        criterion.bench_function(&name, |bench| bench.iter(|| template.key(black_box(&event)).unwrap()));
    }
}

fn sandbox(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let choices = [("reused", Instances::Reuse(NonZeroU32::MAX)), ("fresh", Instances::Fresh)];
    for (name, instances) in choices {
        let guest = runtime.block_on(Guest::new(instances)).expect("the guest is admitted");
        let name = format!("sandbox call, {name} instance");
        criterion
            .bench_function(&name, |bench| bench.iter(|| runtime.block_on(guest.run(7, Job::Echo)).unwrap()));
    }
}

criterion_group!(parts, flow, values, sandbox);
criterion_main!(parts);
