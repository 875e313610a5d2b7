//! What a handler can rely on, and what its tests can.

use std::time::{Duration, SystemTime};

use heddle_sdk::testing::{self, Limits};
use heddle_sdk::{
    Event, Failure, Handler, Message, OrFail, Refusal, Reply, Verdict, config, context, log, publish, state,
};
use serde_json::{Value, json};

fn count(event: &Event) -> Verdict {
    let n = state::update(|n: &mut u64| {
        *n += 1;
        *n
    })?;
    publish(format!("count.{}", event.key()), &n)?;
    log::info!("{} is at {n}", event.key());
    match event.payload() {
        b"fail" => Err(Failure::retry("as told")),
        _ => Ok(()),
    }
}

#[test]
fn each_key_has_a_state_of_its_own() {
    let mut counter = testing::handler(count).key("{subject.1}");
    counter.run(testing::event("hit.a")).done();
    counter.run(testing::event("hit.b")).done();
    let run = counter.run(testing::event("hit.a"));
    assert_eq!(run.done().message("count.a").json::<u64>(), 2);
    assert_eq!(counter.state::<u64>("a"), Some(2));
    assert_eq!(counter.state::<u64>("b"), Some(1));
    assert_eq!(counter.state::<u64>("c"), None);
}

#[test]
fn what_a_failed_event_did_is_forgotten_but_its_log() {
    let mut counter = testing::handler(count).key("k").given_state("k", &5);
    let run = counter.run(testing::event("hit").text("fail"));
    assert_eq!(run.retried(), "as told");
    assert!(run.messages().is_empty());
    assert_eq!(run.state::<u64>(), Some(5));
    assert_eq!(run.logs().iter().map(|line| line.message.as_str()).collect::<Vec<_>>(), ["k is at 6"]);
    assert_eq!(run.logs().first().map(|line| line.level), Some(log::Level::Info));
}

#[test]
fn a_state_that_cannot_be_read_is_a_reject() {
    let mut counter = testing::handler(count).key("k").given_state("k", "five");
    let run = counter.run(testing::event("hit"));
    assert!(run.rejected().starts_with("cannot decode the state: invalid type: string \"five\""));
}

#[test]
fn a_cleared_state_is_gone() {
    let mut handler = testing::handler(|_: &Event| {
        state::clear();
        assert_eq!(state::get_bytes(), None);
        Ok(())
    })
    .key("k")
    .given_state("k", &1);
    assert_eq!(handler.run(testing::event("a")).state_bytes(), None);
    assert_eq!(handler.state::<u64>("k"), None);
}

#[test]
fn a_refused_effect_is_a_reject_that_says_which() {
    let run = testing::handler(|_: &Event| Ok(publish("other.x", &1)?))
        .publishes(["out.*"])
        .run(testing::event("a"));
    let text = "publish on `other.x` refused: not granted: subject `other.x` is outside of `publishes`";
    assert_eq!(run.rejected(), text);
}

#[test]
fn a_handler_may_go_on_without_a_refused_effect() {
    let handle = |_: &Event| {
        let error = publish("out.*", &1).err();
        assert!(matches!(error.as_ref().map(|error| error.refusal()), Some(Refusal::Invalid(_))));
        Ok(publish("out.x", &2)?)
    };
    let run = testing::run(handle, testing::event("a"));
    assert_eq!(run.done().subjects(), ["out.x"]);
}

#[test]
fn limits_hold() {
    let handle = |_: &Event| {
        publish("out.a", "1")?;
        let refusals = [
            Message::text("out.b", "x".repeat(100)).publish(),
            state::set("longer than ten bytes"),
            publish("out.c", "1").and_then(|()| publish("out.d", "1")),
        ];
        let refusals = refusals.map(|result| result.err().map(|error| error.refusal().clone()));
        let expected = [
            Some(Refusal::TooLarge { limit: 99 }),
            Some(Refusal::TooLarge { limit: 10 }),
            Some(Refusal::TooMany { limit: 2 }),
        ];
        assert_eq!(refusals, expected);
        Ok(())
    };
    let limits = Limits { messages: 2, output: 99, state: 10, ..Limits::default() };
    let run = testing::handler(handle).limits(limits).run(testing::event("a"));
    assert_eq!(run.done().subjects(), ["out.a", "out.c"]);
}

#[test]
fn a_message_carries_its_headers_and_its_delay() {
    let handle = |_: &Event| {
        let message = Message::json("out.x", &json!({"a": 1}))?.header("Priority", "low");
        Ok(message.publish_after(Duration::from_millis(1500))?)
    };
    let run = testing::run(handle, testing::event("a"));
    let message = run.done().message("out.x");
    assert_eq!(message.json::<Value>(), json!({"a": 1}));
    assert_eq!(message.header("Priority"), Some("low"));
    assert_eq!(message.delay(), Duration::from_secs(2));
}

#[test]
fn a_reply_goes_to_whoever_asked_and_to_no_one_else() {
    let handle = |_: &Event| Ok(Reply::text("yes").header("Kind", "short").send()?);
    let run = testing::run(handle, testing::event("a").reply_to("_INBOX.7"));
    let reply = run.done().reply().expect("there is a reply");
    assert_eq!((reply.subject(), reply.text(), reply.header("Kind")), ("_INBOX.7", "yes", Some("short")));
    let run = testing::run(handle, testing::event("a"));
    assert_eq!(run.rejected(), "reply refused: invalid: the event has no `Heddle-Reply-To` header");
}

#[test]
fn the_context_is_that_of_the_event() {
    let handle = |event: &Event| {
        assert_eq!((context::attempt(), context::sequence()), (3, 41));
        assert_eq!((context::stream(), context::handler()), ("SHOP".into(), "credit".into()));
        assert_eq!((event.id(), context::correlation().as_str()), ("SHOP/41", "SHOP/7"));
        assert_eq!(context::deadline(), Duration::from_secs(2));
        assert_eq!(event.time(), SystemTime::UNIX_EPOCH);
        assert_eq!(event.headers().collect::<Vec<_>>(), [("A", "1"), ("A", "2")]);
        Ok(())
    };
    let event = testing::event("a")
        .attempt(3)
        .sequence(41)
        .correlation("SHOP/7")
        .time(SystemTime::UNIX_EPOCH)
        .header("A", "1")
        .header("Nats-Msg-Id", "x")
        .header("A", "2");
    testing::handler(handle).stream("SHOP").name("credit").run(event).done();
}

#[test]
fn a_deferral_tells_its_delay() {
    let minute = Duration::from_secs(60);
    let run = testing::run(|_: &Event| Err(Failure::defer(minute, "too early")), testing::event("a"));
    assert_eq!(run.deferred(), (minute, "too early"));
}

#[test]
fn a_setting_that_cannot_be_read_is_a_retry() {
    let handle = |_: &Event| {
        let limit: u64 = config::parse("limit")?.unwrap_or(1000);
        publish("out.limit", &limit)?;
        Ok(())
    };
    let mut without = testing::handler(handle);
    assert_eq!(without.run(testing::event("a")).message("out.limit").json::<u64>(), 1000);
    let run = testing::handler(handle).config("limit", "much").run(testing::event("a"));
    assert_eq!(run.retried(), "config `limit` cannot be `much`: invalid digit found in string");
}

#[test]
fn other_errors_are_what_the_handler_says() {
    let handle = |event: &Event| {
        let _: u8 = event.text()?.parse().or_reject()?;
        Ok(())
    };
    let run = testing::run(handle, testing::event("a").text("x"));
    assert_eq!(run.rejected(), "invalid digit found in string");
}

struct Greeter {
    greeting: String,
}

impl Handler for Greeter {
    fn new() -> Result<Self, Failure> {
        match config::get("greeting") {
            Some(greeting) => Ok(Self { greeting }),
            None => Err(Failure::retry("no greeting")),
        }
    }

    fn handle(&self, _: &Event) -> Verdict {
        publish("out.greeting", &self.greeting)?;
        Ok(())
    }
}

heddle_sdk::handler!(type Greeter);

#[test]
fn a_type_is_made_before_its_event() {
    let greeter = || testing::handler(testing::fresh::<Greeter>);
    let run = greeter().config("greeting", "hello").run(testing::event("a"));
    assert_eq!(run.done().message("out.greeting").json::<String>(), "hello");
    assert_eq!(greeter().run(testing::event("a")).retried(), "no greeting");
}

#[test]
#[should_panic(expected = "within `heddle_sdk::testing`")]
fn outside_of_a_run_there_is_no_host() {
    let _attempt = context::attempt();
}

#[test]
fn outside_of_a_run_a_line_is_only_shown() {
    log::warn!("nobody {}", "listens");
}
