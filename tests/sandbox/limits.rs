//! Limits: what is beyond ends the run, names the limit, and hurts nobody else.

use std::time::Duration;

use heddle_values::limit::{Breach, Limit};
use heddle_values::verdict::Verdict;
use serde_json::json;

use crate::bench::{Bench, call, policy};

fn breach(verdict: &Verdict) -> Option<Limit> {
    match verdict {
        Verdict::Failed(failure) => failure.breach.map(|breach| breach.limit),
        Verdict::Done(_) => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_is_named_when_it_is_breached() {
    let mut policy = policy();
    policy.limits.time = Duration::from_millis(100);
    policy.limits.memory = 4 << 20;
    policy.limits.host_calls = u64::MAX;
    let bench = Bench::new(policy).await;
    for (instruction, limit) in [
        (json!([{"spin": null}]), Limit::Time),
        (json!([{"spin_calls": null}]), Limit::Time),
        (json!([{"sleep_ms": {"ms": 60_000}}]), Limit::Time),
        (json!([{"hoard": {"mib": 64}}]), Limit::Memory),
        (json!([{"recurse": null}]), Limit::Stack),
    ] {
        let verdict = bench.run(instruction.clone()).await.verdict;
        let breached = breach(&verdict) == Some(limit);
        assert!(breached, "{instruction}: {verdict:?}");
    }
    // The plugin is as good as new afterwards.
    bench.effects(json!([{"count": null}])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_the_host_are_counted_and_bounded() {
    let mut policy = policy();
    policy.limits.host_calls = 100;
    let bench = Bench::new(policy).await;
    let verdict = bench.run(json!([{"spin_calls": null}])).await.verdict;
    let expected = Breach { limit: Limit::HostCalls, allowed: 100, used: Some(101) };
    assert!(matches!(&verdict, Verdict::Failed(failure) if failure.breach == Some(expected)), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_of_one_event_are_bounded_and_the_rest_is_counted() {
    let bench = Bench::new(policy()).await;
    let run = bench.run(json!([{"log_flood": {"lines": 5_000}}])).await;
    assert_eq!(run.logs.len(), 100);
    assert_eq!(run.logs_dropped, 4_900);
    let run = bench.run(json!([{"log_flood": {"lines": 1, "bytes": 100_000}}])).await;
    assert!(run.logs.iter().all(|line| line.text.len() <= 4_096));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_run_beside_64_that_spin_is_not_blamed() {
    let mut policy = policy();
    policy.limits.time = Duration::from_millis(200);
    let bench = Bench::new(policy).await;
    let spin = (0..64).map(|n| bench.plugin.run(call(n, json!([{"spin": null}]))));
    let work = (100..120).map(|n| bench.plugin.run(call(n, json!([{"spin_ms": {"n": 5}}, {"count": null}]))));
    let (spinning, healthy) = tokio::join!(futures::future::join_all(spin), futures::future::join_all(work));
    for run in spinning {
        assert_eq!(breach(&run.verdict), Some(Limit::Time), "{run:?}");
    }
    for run in healthy {
        assert!(matches!(run.verdict, Verdict::Done(_)), "{run:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_says_what_the_plugin_printed_last() {
    let bench = Bench::new(policy()).await;
    let cause = bench.cause(json!([{"panic": {"message": "out of thread"}}])).await;
    assert!(cause.message.contains("out of thread"), "{cause:?}");
    let cause = bench.cause(json!([{"exit": {"code": 0}}])).await;
    assert!(cause.message.contains("exited"), "an exit is never done: {cause:?}");
}
