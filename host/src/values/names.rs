//! The names of everything Heddle stores or sends: subjects of the application and headers.

use super::key::Key;

/// Set by a publisher who wants an answer: the inbox subject for [`reply`](super::effects::Reply).
pub const REPLY_TO: &str = "Heddle-Reply-To";
/// The id of the event whose handling published this message.
pub const CAUSE: &str = "Heddle-Cause";
/// The handler that published this message.
pub const HANDLER: &str = "Heddle-Handler";
/// The id of the event that began the chain.
pub const CORRELATION: &str = "Heddle-Correlation";
/// How many handlers lie between the first event of the chain and this message.
pub const HOPS: &str = "Heddle-Hops";
/// W3C Trace Context, <https://www.w3.org/TR/trace-context/>.
pub const TRACEPARENT: &str = "traceparent";

/// Of a state message: the key, as it is rather than as a token.
pub const STATE_KEY: &str = "Heddle-Key";
/// Of a state message: the value was cleared.
pub const STATE_CLEARED: &str = "Heddle-Cleared";

/// What begins the names of headers that belong to the server.
pub const NATS_PREFIX: &str = "Nats-";
/// What begins the names of headers that belong to the host.
pub const HEDDLE_PREFIX: &str = "Heddle-";

/// Headers of a dead letter that say what happened.
pub mod dead {
    pub const CAUSE_CLASS: &str = "Heddle-Dead-Cause";
    pub const MESSAGE: &str = "Heddle-Dead-Message";
    pub const ATTEMPTS: &str = "Heddle-Dead-Attempts";
    pub const HANDLER: &str = "Heddle-Dead-Handler";
    pub const PLUGIN: &str = "Heddle-Dead-Plugin";
    pub const STREAM: &str = "Heddle-Dead-Stream";
    pub const SEQUENCE: &str = "Heddle-Dead-Sequence";
    pub const SUBJECT: &str = "Heddle-Dead-Subject";
    pub const TIME: &str = "Heddle-Dead-Time";
    pub const KEY: &str = "Heddle-Dead-Key";
    /// Set when the event's own headers did not fit and were left out: how many there were.
    pub const HEADERS_LEFT_OUT: &str = "Heddle-Dead-Headers-Left-Out";
    /// Set when the payload did not fit beside these headers and was left out.
    pub const PAYLOAD_LEFT_OUT: &str = "Heddle-Dead-Payload-Left-Out";
}

/// The subjects of one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    internal: Box<str>,
    dead: Box<str>,
}

impl Names {
    /// The subjects of the application `app`.
    pub fn new(app: &str) -> Self {
        Names { internal: format!("_heddle.{app}.").into(), dead: format!("dead.{app}.").into() }
    }

    /// Every subject that Heddle itself adds to the application's stream.
    pub fn stream_subjects(&self) -> [String; 2] {
        [format!("{}>", self.internal), format!("{}>", self.dead)]
    }

    /// Whether `subject` is Heddle's own rather than an event.
    pub fn is_internal(&self, subject: &str) -> bool {
        subject.starts_with(&*self.internal) || subject.starts_with(&*self.dead)
    }

    /// The checkpoint of a shard.
    pub fn checkpoint(&self, shard: u16) -> String {
        format!("{}checkpoint.{shard}", self.internal)
    }

    /// All checkpoints.
    pub fn checkpoints(&self) -> String {
        format!("{}checkpoint.*", self.internal)
    }

    /// The state of one key of a handler. `shard` is the key's.
    pub fn state(&self, shard: u16, handler: &str, key: &Key) -> String {
        self.state_of_token(shard, handler, &key.token())
    }

    /// The state of the key that has this token.
    pub fn state_of_token(&self, shard: u16, handler: &str, token: &str) -> String {
        format!("{}state.{shard}.{handler}.{token}", self.internal)
    }

    /// All states of a handler.
    pub fn states_of(&self, handler: &str) -> String {
        format!("{}state.*.{handler}.>", self.internal)
    }

    /// All states of a shard.
    pub fn states_in(&self, shard: u16) -> String {
        format!("{}state.{shard}.>", self.internal)
    }

    /// All states.
    pub fn states(&self) -> String {
        format!("{}state.>", self.internal)
    }

    /// The presence of a host.
    pub fn member(&self, host: &str) -> String {
        format!("{}member.{host}", self.internal)
    }

    /// The presence of all hosts.
    pub fn members(&self) -> String {
        format!("{}member.*", self.internal)
    }

    /// Where a message waits that is to be published later: one subject for each.
    pub fn schedule(&self, handler: &str, event_sequence: u64, index: usize) -> String {
        format!("{}schedule.{handler}.{event_sequence}.{index}", self.internal)
    }

    /// The dead letter of an event.
    pub fn dead_letter(&self, handler: &str, subject: &str) -> String {
        format!("{}{handler}.{subject}", self.dead)
    }

    /// All dead letters of a handler.
    pub fn dead_letters(&self, handler: &str) -> String {
        format!("{}{handler}.>", self.dead)
    }
}
