//! The campaigns in their small size.

use std::time::Duration;

use heddle_torture::swap::{Plan, run};
use heddle_torture::{mix, soak};

#[tokio::test(flavor = "multi_thread")]
async fn forty_swaps_under_load_lose_repeat_and_reorder_nothing() {
    let plan = Plan {
        swaps: 40,
        rate: 1_000,
        bad: 0.2,
        versions: 6,
        keys: 200,
        quiet: Duration::from_secs(1),
        seed: 1,
        disk: false,
    };
    let report = run(&plan, &|_, _| {}).await.expect("the campaign comes to its end");
    println!("{}", serde_json::to_string_pretty(&report).expect("a report is plain data"));
    assert!(report.is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_mix_every_event_ends_as_it_should() {
    let plan = mix::Plan { events: 4_000, rate: 1_000, cells: mix::few(), seed: 1 };
    let report = mix::run(&plan, &|_, _| {}).await.expect("the campaign comes to its end");
    println!("{}", serde_json::to_string_pretty(&report).expect("a report is plain data"));
    assert!(report.is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_events_flow_everything_stays_level() {
    let length = Duration::from_secs(24);
    let plan =
        soak::Plan { length, rate: 1_500, keys: 200, kept: Duration::from_secs(3), seed: 1, disk: false };
    let report = soak::run(&plan, &|_, _| {}).await.expect("the campaign comes to its end");
    println!("{}", serde_json::to_string_pretty(&report).expect("a report is plain data"));
    assert!(report.is_sound());
}
