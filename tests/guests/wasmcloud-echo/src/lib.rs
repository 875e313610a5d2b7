//! A guest that was written for wasmCloud: it knows `wasmcloud:messaging`, `wasi:logging` and `wasi:config`, and nothing
//! of Heddle.
//!
//! What comes in on `in.x` goes out on `out.x`, unless the body begins with the line `do`. Then each further line is an
//! instruction, and the first that fails ends the event with its error.
//!
//! | instruction | does |
//! |---|---|
//! | `publish SUBJECT TEXT` | publishes |
//! | `tolerate SUBJECT` | publishes and ignores a refusal |
//! | `wrap SUBJECT` | publishes and puts words of its own around a refusal |
//! | `ask SUBJECT` | publishes and names a subject for the answer |
//! | `request SUBJECT` | sends a request |
//! | `answer TEXT` | publishes on the subject for the answer; without one it fails |
//! | `config NAME` | publishes the setting on `out.config` |
//! | `configs` | publishes all settings on `out.config` |
//! | `log CONTEXT TEXT` | logs a line of each level |
//! | `spin` | asks for a setting for ever |
//! | `fail TEXT` | fails |
//! | `trap` | traps |
#![cfg(target_arch = "wasm32")]
#![expect(unsafe_code, reason = "the generated bindings need it")]

mod bindings {
    wit_bindgen::generate!({
        path: [
            "../../../host/sandbox/wit/wasmcloud-messaging",
            "../../../host/sandbox/wit/wasi-logging",
            "../../../host/sandbox/wit/wasi-config",
        ],
        inline: "
            package heddle:guests;

            world wasmcloud-echo {
                import wasmcloud:messaging/consumer@0.2.0;
                import wasi:logging/logging@0.1.0-draft;
                import wasi:config/store@0.2.0-rc.1;
                export wasmcloud:messaging/handler@0.2.0;
            }
        ",
        world: "heddle:guests/wasmcloud-echo",
        generate_all,
    });
}

use bindings::exports::wasmcloud::messaging::handler::Guest;
use bindings::wasi::config::store;
use bindings::wasi::logging::logging::{Level, log};
use bindings::wasmcloud::messaging::consumer;
use bindings::wasmcloud::messaging::types::BrokerMessage;

struct Echo;

bindings::export!(Echo with_types_in bindings);

impl Guest for Echo {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let text = std::str::from_utf8(&message.body).unwrap_or_default();
        match text.strip_prefix("do\n") {
            Some(lines) => lines.lines().try_for_each(|line| perform(&message, line)),
            None => {
                let rest = message.subject.strip_prefix("in.").unwrap_or(&message.subject);
                publish(&format!("out.{rest}"), &message.body)
            }
        }
    }
}

fn publish(subject: &str, body: &[u8]) -> Result<(), String> {
    consumer::publish(&BrokerMessage { subject: subject.to_owned(), body: body.to_vec(), reply_to: None })
}

fn perform(message: &BrokerMessage, line: &str) -> Result<(), String> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    match verb {
        "publish" => publish(first, second.as_bytes()),
        "tolerate" => {
            publish(first, b"").ok();
            Ok(())
        }
        "wrap" => publish(first, b"").map_err(|error| format!("failed to publish: {error}")),
        "ask" => {
            let reply_to = Some("answers.here".to_owned());
            consumer::publish(&BrokerMessage { subject: first.to_owned(), body: Vec::new(), reply_to })
        }
        "request" => consumer::request(first, b"", 100).map(drop),
        "answer" => {
            publish(message.reply_to.as_deref().ok_or("nobody waits for an answer")?, rest.as_bytes())
        }
        "config" => {
            let value = store::get(first).map_err(|error| error.to_string())?;
            publish("out.config", format!("{value:?}").as_bytes())
        }
        "configs" => {
            let all = store::get_all().map_err(|error| error.to_string())?;
            publish("out.config", format!("{all:?}").as_bytes())
        }
        "log" => {
            for level in [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Critical]
            {
                log(level, first, second);
            }
            log(Level::Info, "", "without context");
            Ok(())
        }
        "spin" => loop {
            store::get("colour").ok();
        },
        "fail" => Err(rest.to_owned()),
        "trap" => std::process::abort(),
        _ => Err(format!("unknown instruction `{verb}`")),
    }
}
