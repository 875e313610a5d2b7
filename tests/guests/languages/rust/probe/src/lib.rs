//! The conformance guest in Rust: does what the verb in its event's subject says. See `tests/languages`.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use heddle_sdk::{
    Event, Failure, Message, OrFail, Refusal, Reply, Verdict, config, context, log, publish, state,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How many events this instance has counted.
static GLOBAL: AtomicU64 = AtomicU64::new(0);

const MAX_HEADERS: usize = 64;

fn handle(event: &Event) -> Verdict {
    match event.token(1) {
        Some("echo") => echo(event),
        Some("headers") => headers(event),
        Some("text") => text(event),
        Some("json") => greet(event),
        Some("verdict") => verdict(event),
        Some("count") => count(event),
        Some("fail") => fail(event),
        Some("state") => keep(event),
        Some("later") => later(event),
        Some("reply") => Ok(Reply::text(event.text()?).header("X-Probe", "yes").send()?),
        Some("context") => about(event),
        Some("config") => answer(event, &config::get(event.text()?)),
        Some("log") => lines(),
        Some("throw") => deeper(event.text()?),
        Some("refused") => Ok(publish("secret.x", "x")?),
        Some("caught") => caught(event),
        Some("many") => many(event),
        Some("large") => large(event),
        Some("loop") => endless(),
        Some("allocate") => allocate(),
        Some("recurse") => answer(event, &recurse(1)),
        Some("clock") => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).or_reject()?;
            answer(event, &json!({ "now_ms": now.as_millis() as u64 }))
        }
        Some("random") => random(event),
        Some("global") => answer(event, &(GLOBAL.fetch_add(1, Ordering::Relaxed) + 1)),
        Some("async") => answer(event, &"awaited"),
        verb => Err(Failure::reject(format!("unknown verb `{}`", verb.unwrap_or_default()))),
    }
}

heddle_sdk::handler!(handle);

fn out(event: &Event) -> String {
    format!("out.{}.{}", event.token(1).unwrap_or_default(), event.key())
}

fn answer(event: &Event, value: &impl Serialize) -> Verdict {
    publish(out(event), value)?;
    Ok(())
}

fn is_the_hosts(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("nats-") || name.starts_with("heddle-") || name == "traceparent"
}

fn echo(event: &Event) -> Verdict {
    let mut message = Message::bytes(out(event), event.payload());
    for (name, value) in event.headers().filter(|(name, _)| !is_the_hosts(name)).take(MAX_HEADERS) {
        message = message.header(name, value);
    }
    message.publish()?;
    Ok(())
}

fn headers(event: &Event) -> Verdict {
    answer(event, &event.headers().collect::<Vec<_>>())
}

fn text(event: &Event) -> Verdict {
    let text = event.text()?;
    answer(event, &json!({ "chars": text.chars().count(), "reversed": text.chars().rev().collect::<String>() }))
}

fn greet(event: &Event) -> Verdict {
    #[derive(Deserialize)]
    struct Greeting {
        name: String,
        n: i64,
    }
    let Greeting { name, n } = event.json()?;
    answer(event, &json!({ "greeting": format!("hello {name}"), "next": n + 1 }))
}

fn verdict(event: &Event) -> Verdict {
    #[derive(Deserialize)]
    struct Wish {
        verdict: String,
        #[serde(default)]
        reason: String,
        #[serde(default)]
        delay_ms: u64,
    }
    let Wish { verdict, reason, delay_ms } = event.json()?;
    Message::text(out(event), "forgotten").publish()?;
    match verdict.as_str() {
        "done" => Ok(()),
        "retry" => Err(Failure::retry(reason)),
        "defer" => Err(Failure::defer(Duration::from_millis(delay_ms), reason)),
        _ => Err(Failure::reject(reason)),
    }
}

fn count(event: &Event) -> Verdict {
    let count = state::update(|count: &mut u64| {
        *count += 1;
        *count
    })?;
    answer(event, &count)
}

/// Fails at as many attempts as the event says, and counts after that.
fn fail(event: &Event) -> Verdict {
    #[derive(Deserialize)]
    struct Fate {
        times: u32,
        verdict: String,
    }
    let Fate { times, verdict } = event.json()?;
    if context::attempt() > times {
        return count(event);
    }
    match verdict.as_str() {
        "retry" => Err(Failure::retry("asked to")),
        "reject" => Err(Failure::reject("asked to")),
        _ => deeper("asked to"),
    }
}

fn keep(event: &Event) -> Verdict {
    #[derive(Deserialize)]
    struct Change {
        op: String,
        #[serde(default)]
        value: Value,
    }
    let Change { op, value } = event.json()?;
    match op.as_str() {
        "set" => state::set_bytes(value.as_str().unwrap_or_default().as_bytes())?,
        "set-bytes" => {
            let bytes: Vec<u8> = serde_json::from_value(value).or_reject()?;
            state::set_bytes(&bytes)?;
        }
        "clear" => state::clear(),
        _ => {}
    }
    let bytes = state::get_bytes();
    let text = bytes.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
    answer(event, &json!({ "state": text, "bytes": bytes.as_ref().map(Vec::len) }))
}

fn later(event: &Event) -> Verdict {
    #[derive(Deserialize)]
    struct Wait {
        seconds: u64,
    }
    let Wait { seconds } = event.json()?;
    Message::text(out(event), "later").publish_after(Duration::from_secs(seconds))?;
    Ok(())
}

fn about(event: &Event) -> Verdict {
    let time = event.time().duration_since(UNIX_EPOCH).or_reject()?;
    let deadline = context::deadline().as_millis();
    let about = json!({
        "id": event.id(),
        "subject": event.subject(),
        "key": event.key(),
        "attempt": context::attempt(),
        "stream": context::stream(),
        "sequence": context::sequence(),
        "handler": context::handler(),
        "correlation": context::correlation(),
        "time_s": time.as_secs(),
        "time_ns": time.subsec_nanos(),
        "deadline": 0 < deadline && deadline <= 60_000,
    });
    answer(event, &about)
}

fn lines() -> Verdict {
    log::trace!("at trace");
    log::debug!("at debug");
    log::info!("at info");
    log::warn!("at warn");
    log::error!("at error");
    println!("printed out");
    eprintln!("printed err");
    Ok(())
}

#[inline(never)]
fn deeper(text: &str) -> Verdict {
    black_box(deep)(text)
}

#[inline(never)]
fn deep(text: &str) -> Verdict {
    panic!("{text}")
}

fn caught(event: &Event) -> Verdict {
    if let Err(error) = publish("secret.x", "x")
        && let Refusal::NotGranted(_) = error.refusal()
    {
        answer(event, &json!({ "kind": "not-granted", "text": error.to_string() }))?;
    }
    if let Err(error) = state::set_bytes(&vec![b'x'; 1_000_000])
        && let Refusal::TooLarge { limit } = error.refusal()
    {
        answer(event, &json!({ "kind": "too-large", "limit": limit }))?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Many {
    n: u64,
}

fn many(event: &Event) -> Verdict {
    let Many { n } = event.json()?;
    for i in 0..n {
        Message::text(out(event), i.to_string()).publish()?;
    }
    Ok(())
}

fn large(event: &Event) -> Verdict {
    #[derive(Deserialize)]
    struct Large {
        bytes: usize,
    }
    let Large { bytes } = event.json()?;
    Message::bytes(out(event), vec![b'a'; bytes]).publish()?;
    Ok(())
}

fn endless() -> Verdict {
    let mut x = 1_u64;
    loop {
        x = black_box(x.wrapping_mul(3));
    }
}

fn allocate() -> Verdict {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}

#[expect(unconditional_recursion, reason = "it is what is asked for")]
fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1)) + 1)
}

fn random(event: &Event) -> Verdict {
    let mut numbers = [0; 3];
    for number in &mut numbers {
        *number = getrandom::u32().map_err(|error| error.to_string()).or_retry()?;
    }
    answer(event, &numbers)
}
