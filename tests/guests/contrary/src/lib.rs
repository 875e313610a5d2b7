//! A guest that does what its event says: obedient where a journey needs a plain handler, contrary where it
//! needs one that breaks the rules.
//!
//! The payload is `{"do": [instruction, …]}`. The instructions are carried out in order. The first that fails
//! ends the event with its failure; otherwise the event is done. An unknown instruction or field is a reject.
//!
//! | instruction | does |
//! |---|---|
//! | `{"publish":{"subject":"out.x","payload":"…","headers":[["k","v"]],"tolerate":false}}` | publishes; only `subject` is needed. A refusal is a reject with its text, unless it is tolerated |
//! | `{"publish_after":{"seconds":5,"subject":"out.x","payload":"…","headers":[],"tolerate":false}}` | the same after a delay |
//! | `{"reply":{"payload":"…","headers":[["k","v"]],"tolerate":false}}` | answers the event |
//! | `{"count":null}` | adds 1 to the state, a number in decimal text; none is 0 |
//! | `{"set_state":{"text":"…"}}` | sets the state |
//! | `{"clear_state":null}` | removes the state |
//! | `{"echo_state":{"subject":"out.x"}}` | publishes the state as it is, with the header `state: some`, or an empty payload with `state: none` |
//! | `{"twins": {"subject": "out.a"}}` | appends to the state as text, and publishes the payload's length and the state, at once and after 7 s |
//! | `{"log":{"level":"info","message":"…"}}` | logs a line; levels `trace`, `debug`, `info`, `warn`, `error` |
//! | `{"print":{"text":"…"}}`, `{"eprint":{"text":"…"}}` | writes a line to standard output or error |
//! | `{"context":{"subject":"out.x"}}` | publishes all that can be known from inside: see `report.rs` |
//! | `{"config":{"name":"limit","subject":"out.x"}}` | publishes the setting as a JSON string, or `null` |
//! | `{"leak_static":{"subject":"out.x"}}` | adds 1 to a static and publishes it: 1 in a fresh instance |
//! | `{"retry":{"reason":"…"}}` | fails with retry |
//! | `{"retry_until":{"attempt":3}}` | fails with retry before that attempt, and goes on from it |
//! | `{"fail_unless":{"name":"well"}}` | fails with retry unless the handler's `config` has that name |
//! | `{"need_file":{"path":"/world/up"}}` | fails with retry unless that file can be read |
//! | `{"defer":{"delay_ms":50,"reason":"…"}}` | fails with defer; `reason` may be left out |
//! | `{"defer_once":{"delay_ms":50}}` | fails with defer if this *instance* has not deferred the event yet: needs a reused instance, for a fresh one never knows |
//! | `{"reject":{"reason":"…"}}` | fails with reject |
//! | `{"panic":{"message":"…"}}` | panics |
//! | `{"trap":null}` | runs into an unreachable instruction without a word |
//! | `{"exit":{"code":3}}` | leaves by `exit` |
//! | `{"sleep_ms":{"ms":50}}` | sleeps |
//! | `{"spin":null}` | loops for ever |
//! | `{"spin_ms":{"n":50}}` | is busy for about that many milliseconds, by counting |
//! | `{"spin_calls":null}` | asks the host something cheap for ever |
//! | `{"hoard":{"mib":100}}` | allocates as much, touches every page, never frees it |
//! | `{"recurse":null}` | recurses for ever |
//! | `{"flood":{"subject":"out.x","messages":1000}}` | publishes its number so often; the first refusal is a reject |
//! | `{"flood_ignoring":{"subject":"out.x","messages":1000}}` | the same; refusals are ignored |
//! | `{"big_output":{"subject":"out.x","bytes":2000000}}` | publishes a payload of that size; a refusal is a reject |
//! | `{"big_state":{"bytes":2000000}}` | sets a state of that size; a refusal is a reject |
//! | `{"log_flood":{"lines":1000,"bytes":80}}` | logs `lines` lines, each its number and `bytes` times `x`; `bytes` is 80 if left out |
//! | `{"forge":{"subject":"out.x"}}` | tries what no handler may publish, and publishes what came of it: see `forge.rs` |

mod abuse;
mod forge;
mod instruction;
mod ordinary;
mod report;
mod twins;

use std::process;

use heddle_sdk::{Event, Failure, Verdict};

use crate::instruction::{Instruction, Program};

/// Carries out the instructions of an event.
fn handle(event: &Event) -> Verdict {
    let program: Program = event.json()?;
    program.instructions.into_iter().try_for_each(|instruction| perform(event, instruction))
}

heddle_sdk::handler!(handle);

fn perform(event: &Event, instruction: Instruction) -> Verdict {
    match instruction {
        Instruction::Publish(what) => ordinary::publish(what),
        Instruction::PublishAfter(what) => ordinary::publish_after(what),
        Instruction::Reply(what) => ordinary::reply(what),
        Instruction::Count => ordinary::count(),
        Instruction::SetState { text } => ordinary::set_state(&text),
        Instruction::ClearState => ordinary::clear_state(),
        Instruction::EchoState { subject } => ordinary::echo_state(subject),
        Instruction::Twins { subject } => twins::all(&subject),
        Instruction::Log { level, message } => ordinary::log(level, &message),
        Instruction::Print { text } => ordinary::print(&text),
        Instruction::Eprint { text } => ordinary::eprint(&text),
        Instruction::Config { name, subject } => ordinary::config(&name, subject),
        Instruction::LeakStatic { subject } => ordinary::leak_static(subject),
        Instruction::Context { subject } => report::publish(event, subject),
        Instruction::Retry { reason } => Err(Failure::retry(reason)),
        Instruction::FailUnless { name } => ordinary::fail_unless(&name),
        Instruction::NeedFile { path } => ordinary::need_file(&path),
        Instruction::RetryUntil { attempt } => ordinary::retry_until(attempt),
        Instruction::Defer { delay_ms, reason } => ordinary::defer(delay_ms, &reason),
        Instruction::DeferOnce { delay_ms } => ordinary::defer_once(event, delay_ms),
        Instruction::Reject { reason } => Err(Failure::reject(reason)),
        Instruction::Panic { message } => abuse::panic(&message),
        Instruction::Trap => process::abort(),
        Instruction::Exit { code } => process::exit(code),
        Instruction::SleepMs { ms } => abuse::sleep(ms),
        Instruction::Spin => abuse::spin(),
        Instruction::SpinMs { n } => abuse::spin_ms(n),
        Instruction::SpinCalls => abuse::spin_calls(),
        Instruction::Hoard { mib } => abuse::hoard(mib),
        Instruction::Recurse => abuse::recurse(),
        Instruction::Flood { subject, messages } => abuse::flood(&subject, messages),
        Instruction::FloodIgnoring { subject, messages } => abuse::flood_ignoring(&subject, messages),
        Instruction::BigOutput { subject, bytes } => abuse::big_output(subject, bytes),
        Instruction::BigState { bytes } => abuse::big_state(bytes),
        Instruction::LogFlood { lines, bytes } => abuse::log_flood(lines, bytes),
        Instruction::Forge { subject } => forge::publish(&subject),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use heddle_sdk::testing::{self, Run, TestEvent};
    use serde_json::{Value, json};

    use super::*;

    fn told(instructions: Value) -> TestEvent {
        testing::event("in.a").json(&json!({"do": instructions}))
    }

    fn run(instructions: Value) -> Run {
        testing::handler(handle).publishes(["out.>"]).run(told(instructions))
    }

    /// The instructions in the first column of the table.
    fn table() -> Vec<&'static str> {
        let rows = include_str!("lib.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
        let first = rows.filter_map(|row| row.split(" | ").next());
        first.flat_map(|cell| cell.split('`')).filter(|text| text.starts_with('{')).collect()
    }

    #[test]
    fn every_instruction_of_the_table_is_understood() {
        for row in table() {
            if let Err(error) = serde_json::from_str::<Instruction>(row) {
                assert_eq!(error.to_string(), "", "{row}");
            }
        }
    }

    #[test]
    fn every_instruction_is_in_the_table() {
        let unknown = serde_json::from_str::<Instruction>(r#"{"?":null}"#).err();
        let text = unknown.map(|error| error.to_string()).unwrap_or_default();
        let names: Vec<_> = text.split('`').skip(3).step_by(2).collect();
        assert!(names.contains(&"publish") && names.contains(&"forge"), "{text}");
        for name in names {
            let row = format!("{{\"{name}\":");
            assert!(table().iter().any(|known| known.starts_with(&row)), "{name}");
        }
    }

    #[test]
    fn what_is_not_an_instruction_is_rejected() {
        assert!(run(json!([{"dance": null}])).rejected().contains("unknown variant `dance`"));
        assert!(run(json!([{"exit": {"status": 1}}])).rejected().contains("unknown field `status`"));
    }

    #[test]
    fn a_refused_message_fails_the_event_unless_it_is_tolerated() {
        let forbidden = |tolerate| json!([{"publish": {"subject": "in.b", "tolerate": tolerate}}]);
        assert!(run(forbidden(false)).rejected().contains("not granted"));
        assert!(run(forbidden(true)).done().messages().is_empty());
    }

    #[test]
    fn messages_carry_what_they_were_told() {
        let message = json!({"subject": "out.x", "payload": "p", "headers": [["k", "v"]], "seconds": 5});
        let run = run(json!([{"publish_after": message}, {"publish": {"subject": "out.y"}}]));
        let first = run.done().message("out.x");
        assert_eq!((first.text(), first.header("k")), ("p", Some("v")));
        assert_eq!(first.delay(), Duration::from_secs(5));
        assert_eq!(run.message("out.y").text(), "");
    }

    #[test]
    fn the_count_is_decimal_text_that_survives_the_event() {
        let mut contrary = testing::handler(handle);
        let count = json!([{"count": null}, {"echo_state": {"subject": "out.x"}}]);
        contrary.run(told(count.clone())).done();
        let run = contrary.run(told(count));
        assert_eq!(run.done().message("out.x").text(), "2");
        assert_eq!(run.message("out.x").header("state"), Some("some"));
    }

    #[test]
    fn a_cleared_state_echoes_none() {
        let steps = json!([{"set_state": {"text": "t"}}, {"clear_state": null}, {"echo_state": {"subject": "out.x"}}]);
        assert_eq!(run(steps).done().message("out.x").header("state"), Some("none"));
    }

    #[test]
    fn retry_until_gives_in_at_its_attempt() {
        let steps = json!([{"retry_until": {"attempt": 2}}]);
        assert_eq!(testing::run(handle, told(steps.clone())).retried(), "attempt 1 comes before 2");
        testing::run(handle, told(steps).attempt(2)).done();
    }

    #[test]
    fn defer_once_gives_in_when_the_instance_has_seen_the_event() {
        let mut contrary = testing::handler(handle);
        let event = told(json!([{"defer_once": {"delay_ms": 50}}])).sequence(7);
        assert_eq!(contrary.run(event.clone()).deferred(), (Duration::from_millis(50), "once"));
        contrary.run(event).done();
    }

    #[test]
    fn a_flood_stops_at_the_first_refusal_unless_it_ignores_it() {
        let flood = |kind: &str| run(json!([{kind: {"subject": "out.x", "messages": 101}}]));
        assert!(flood("flood").rejected().contains("too many messages: the limit is 100"));
        assert_eq!(flood("flood_ignoring").done().messages().len(), 100);
    }

    #[test]
    fn no_forgery_passes() {
        let run = run(json!([{"forge": {"subject": "out.report"}}]));
        let report: Value = run.done().message("out.report").json();
        let answers = report.as_array().cloned().unwrap_or_default();
        assert_eq!(answers.len(), 37);
        for answer in answers {
            assert_ne!(answer.get("answer"), Some(&json!("ok")), "{answer}");
        }
    }

    #[test]
    fn the_report_knows_its_event() {
        let run = run(json!([{"context": {"subject": "out.x"}}]));
        let report: Value = run.done().message("out.x").json();
        let known = |name| report.get(name).cloned().unwrap_or_default();
        assert_eq!(
            [known("id"), known("subject"), known("key")],
            [json!("TEST/1"), json!("in.a"), json!("in.a")]
        );
        assert_eq!([known("attempt"), known("deadline_ms")], [json!(1), json!(2000)]);
    }
}
