//! A guest that was written for the draft of `wasi:messaging`, and knows nothing of Heddle.
//!
//! What comes in on `in.x` goes out on `out.x` with its metadata and its content type, unless the data begin with the line
//! `do`. Then each further line is an instruction, and the first that fails ends the event with its error.
//!
//! | instruction | does |
//! |---|---|
//! | `describe` | publishes all that the message says of itself on `out.message` |
//! | `send TOPIC TEXT` | publishes |
//! | `wrap TOPIC` | publishes and makes a refusal an `other` with words of its own |
//! | `add NAME VALUE` | adds to the metadata of the message, removes `Kind`, and sends it on to `out.changed` |
//! | `request TOPIC` | sends a request |
//! | `reply TEXT` | replies to the message |
//! | `reply-to-own` | replies to a message of its own |
//! | `leak COUNT` | makes N messages and keeps their handles |
//! | `hoard MIB` | makes messages of a MiB each and keeps their handles |
//! | `timeout`, `connection TEXT`, `denied TEXT`, `other TEXT` | fails so |
#![cfg(target_arch = "wasm32")]
#![expect(unsafe_code, reason = "the generated bindings need it")]

mod bindings {
    wit_bindgen::generate!({
        path: "../../../host/sandbox/wit/wasi-messaging",
        world: "messaging-request-reply",
        generate_all,
    });
}

use std::mem::forget;

use bindings::exports::wasi::messaging::incoming_handler::Guest;
use bindings::wasi::messaging::producer;
use bindings::wasi::messaging::request_reply::{self, RequestOptions};
use bindings::wasi::messaging::types::{Client, Error, Message};

struct Echo;

bindings::export!(Echo with_types_in bindings);

impl Guest for Echo {
    fn handle(message: Message) -> Result<(), Error> {
        let data = message.data();
        let text = std::str::from_utf8(&data).unwrap_or_default();
        match text.strip_prefix("do\n") {
            Some(lines) => lines.lines().try_for_each(|line| perform(&message, line)),
            None => {
                let topic = message.topic().unwrap_or_default();
                let echo = Message::new(&data);
                echo.set_metadata(&message.metadata().unwrap_or_default());
                if let Some(content_type) = message.content_type() {
                    echo.set_content_type(&content_type);
                }
                send(&format!("out.{}", topic.strip_prefix("in.").unwrap_or(&topic)), echo)
            }
        }
    }
}

fn send(topic: &str, message: Message) -> Result<(), Error> {
    let client = Client::connect("anything")?;
    let sent = producer::send(&client, topic, message);
    client.disconnect()?;
    sent
}

fn perform(message: &Message, line: &str) -> Result<(), Error> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    match verb {
        "describe" => {
            let (topic, content_type) = (message.topic(), message.content_type());
            let said = format!("{topic:?} {content_type:?} {:?}", message.metadata());
            send("out.message", Message::new(said.as_bytes()))
        }
        "send" => send(first, Message::new(second.as_bytes())),
        "wrap" => send(first, Message::new(b""))
            .map_err(|error| Error::Other(format!("failed to send: {}", text(&error)))),
        "add" => {
            let changed = Message::new(b"old");
            changed.set_metadata(&message.metadata().unwrap_or_default());
            changed.add_metadata(first, second);
            changed.remove_metadata("Kind");
            changed.set_data(b"new");
            send("out.changed", changed)
        }
        "request" => {
            let client = Client::connect("anything")?;
            let options = RequestOptions::new();
            options.set_timeout_ms(100);
            options.set_expected_replies(1);
            request_reply::request(&client, first, message, Some(options)).map(drop)
        }
        "reply" => request_reply::reply(message, Message::new(rest.as_bytes())),
        "reply-to-own" => request_reply::reply(&Message::new(b""), Message::new(b"")),
        "leak" => {
            (0..first.parse().unwrap_or(0)).for_each(|_| forget(Message::new(b"")));
            Ok(())
        }
        "hoard" => {
            let data = vec![0; 1 << 20];
            (0..first.parse().unwrap_or(0)).for_each(|_| forget(Message::new(&data)));
            Ok(())
        }
        "timeout" => Err(Error::Timeout),
        "connection" => Err(Error::Connection(rest.to_owned())),
        "denied" => Err(Error::PermissionDenied(rest.to_owned())),
        _ => Err(Error::Other(rest.to_owned())),
    }
}

fn text(error: &Error) -> String {
    match error {
        Error::Timeout => "timeout".to_owned(),
        Error::Connection(text) | Error::PermissionDenied(text) | Error::Other(text) => text.clone(),
    }
}
