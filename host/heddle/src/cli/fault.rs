//! What went wrong in a command: a code that scripts can rely on, the exit code that belongs to it, and how it is said.

use serde::Serialize;
use serde_json::json;

use super::fixture;
use heddle_config as config;

use crate::print;
use heddle_broker as broker;
use heddle_flow::{acquire, engine, versions};
use heddle_sandbox as sandbox;
use heddle_values::object;

/// What an error is. The names are stable: docs/commands.md lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Code {
    /// The command line makes no sense.
    Usage,
    /// `heddle.toml` cannot be read or has faults.
    File,
    /// A component is none, or no host would accept it.
    Plugin,
    /// A test file has faults.
    TestFile,
    /// The file of an event has faults.
    EventFile,
    /// What cannot be undone was neither confirmed nor asked for with `--yes`.
    Unconfirmed,
    /// The server cannot be reached.
    Connect,
    /// The server is too old or has no JetStream.
    Server,
    /// The stream does not exist: the application has not run yet.
    NoStream,
    /// The stream is set to what the application cannot work with.
    StreamDiffers,
    /// No host runs the application.
    NoHost,
    /// There is no such handler, key, version or dead letter.
    NotFound,
    /// A dead letter holds its key back.
    HoldsKey,
    /// The host has answered that it will not.
    Refused,
    /// No reply came in time.
    NoReply,
    /// The server has answered a request with an error, or not at all.
    Request,
    /// Another host has the application.
    Taken,
    /// Another host has taken the application over.
    Fenced,
    /// Standard output cannot be written.
    Output,
    /// A second signal ended it at once.
    Interrupted,
    /// Anything else.
    Failed,
}

impl Code {
    /// The process ends with this.
    pub(super) fn exit(self) -> u8 {
        match self {
            Code::Usage
            | Code::File
            | Code::Plugin
            | Code::TestFile
            | Code::EventFile
            | Code::Unconfirmed => 2,
            Code::Taken | Code::Fenced => 3,
            Code::Interrupted => 130,
            Code::Connect
            | Code::Server
            | Code::NoStream
            | Code::StreamDiffers
            | Code::NoHost
            | Code::NotFound
            | Code::HoldsKey
            | Code::Refused
            | Code::NoReply
            | Code::Request
            | Code::Output
            | Code::Failed => 1,
        }
    }

    /// What to do next, where that does not depend on more.
    fn hint(self) -> Option<&'static str> {
        Some(match self {
            Code::Usage => "`--help` after the command shows what it accepts",
            Code::Unconfirmed => "give --yes",
            Code::Connect => "start the server, or name another one with --url",
            Code::NoStream => "start the application with `heddle run` or `heddle dev`",
            Code::NoHost => "start one with `heddle run`, or give --no-wait",
            Code::HoldsKey => "replay the dead letter, or give --release",
            Code::Taken | Code::Fenced => "`heddle status` names the host that has the application",
            _ => return None,
        })
    }

    /// An error with this code.
    pub(super) fn fault(self, message: impl Into<String>) -> Fault {
        Fault { code: self, message: message.into() }
    }
}

/// An error that a command itself has found.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Fault {
    code: Code,
    message: String,
}

/// What an error is.
pub(super) fn code(error: &anyhow::Error) -> Code {
    if let Some(fault) = error.downcast_ref::<Fault>() {
        return fault.code;
    }
    if error.is::<config::Error>() {
        return Code::File;
    }
    if error.is::<object::Error>() || error.is::<heddle_project::Error>() {
        return Code::Usage;
    }
    if error.is::<fixture::Faulty>() {
        return Code::EventFile;
    }
    let refused = matches!(error.downcast_ref(), Some(versions::Error::Plugins(_)));
    if refused || error.is::<versions::Refusal>() || error.is::<sandbox::Error>() {
        return Code::Plugin;
    }
    if error.is::<super::Abandoned>() {
        return Code::Interrupted;
    }
    if error.is::<print::Error>() {
        return Code::Output;
    }
    if matches!(error.downcast_ref(), Some(acquire::Error::Taken { .. })) {
        return Code::Taken;
    }
    let versions_are_fenced = matches!(error.downcast_ref(), Some(versions::Error::Fenced));
    if versions_are_fenced || matches!(error.downcast_ref(), Some(engine::Error::Fenced(_))) {
        return Code::Fenced;
    }
    error.chain().find_map(|cause| cause.downcast_ref().map(of_broker)).unwrap_or(Code::Failed)
}

fn of_broker(error: &broker::Error) -> Code {
    match error {
        broker::Error::Connect { .. } | broker::Error::Address(_) => Code::Connect,
        broker::Error::TooOld { .. }
        | broker::Error::NoJetStream { .. }
        | broker::Error::NoAnswer { .. }
        | broker::Error::NotReady { .. } => Code::Server,
        broker::Error::NoStream(_) => Code::NoStream,
        broker::Error::Unsuitable(_) => Code::StreamDiffers,
        broker::Error::NoBucket(_) | broker::Error::NoObject(_) => Code::NotFound,
        broker::Error::Request { .. } | broker::Error::Unanswered { .. } => Code::Request,
        _ => Code::Failed,
    }
}

/// Says on standard error what went wrong: in words, or as one JSON object on one line.
pub(super) fn report(code: Code, message: &str, json: bool) {
    if !json {
        print::complain!("error: {message}");
        return;
    }
    let error = json!({ "error": { "code": code, "message": message, "hint": code.hint() } });
    print::complain!("{}", print::visible_json(&error.to_string()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_code_stays_what_it_is_under_any_context() {
        let fault = || anyhow::Error::from(Code::NoHost.fault("no host runs it"));
        assert_eq!(code(&fault()), Code::NoHost);
        assert_eq!(code(&fault().context("failed to replay")), Code::NoHost);
        let broker = Err::<(), _>(broker::Error::NoStream("S".to_owned()));
        assert_eq!(code(&broker.context("no lag is known").unwrap_err()), Code::NoStream);
        assert_eq!(code(&anyhow::anyhow!("anything")), Code::Failed);
        assert_eq!((Code::Taken.exit(), Code::Usage.exit(), Code::Failed.exit()), (3, 2, 1));
    }

    #[test]
    fn every_code_is_in_the_docs() {
        let docs = include_str!("../../../../docs/commands.md");
        for code in [
            Code::Usage,
            Code::File,
            Code::Plugin,
            Code::TestFile,
            Code::EventFile,
            Code::Unconfirmed,
            Code::Connect,
            Code::Server,
            Code::NoStream,
            Code::StreamDiffers,
            Code::NoHost,
            Code::NotFound,
            Code::HoldsKey,
            Code::Refused,
            Code::NoReply,
            Code::Request,
            Code::Taken,
            Code::Fenced,
            Code::Output,
            Code::Interrupted,
            Code::Failed,
        ] {
            let name = serde_json::to_value(code).unwrap();
            let row = format!("| `{}` | {} |", name.as_str().unwrap(), code.exit());
            assert!(docs.contains(&row), "docs/commands.md lacks {row}");
        }
    }
}
