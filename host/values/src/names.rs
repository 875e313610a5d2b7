//! The names of everything Heddle stores or sends: subjects of the application and headers.

use super::key::Key;
use super::position::Position;

/// Set by a publisher who wants an answer: the inbox subject for [`reply`](super::effects::Reply).
pub const REPLY_TO: &str = "Heddle-Reply-To";
/// The id of the event whose handling published this message.
pub const CAUSE: &str = "Heddle-Cause";
/// The handler that published this message.
pub const HANDLER: &str = "Heddle-Handler";
/// The digest of the plugin that published this message.
pub const PLUGIN: &str = "Heddle-Plugin";
/// The id of the event that began the chain.
pub const CORRELATION: &str = "Heddle-Correlation";
/// How many handlers lie between the first event of the chain and this message.
pub const HOPS: &str = "Heddle-Hops";
/// W3C Trace Context, <https://www.w3.org/TR/trace-context/>.
pub const TRACEPARENT: &str = "traceparent";

/// A header of state messages: the key, as it is rather than as a token.
pub const STATE_KEY: &str = "Heddle-Key";
/// A header of state messages: the value was cleared.
pub const STATE_CLEARED: &str = "Heddle-Cleared";

/// What the subjects begin with on which hosts hear themselves and each other. They stand outside every stream, for a
/// subscription below a stream's subjects turns the answer "no responders" into a time-out.
pub const LIVE: &str = "_heddle_live";

/// What begins the names of headers that belong to the server.
pub const NATS_PREFIX: &str = "Nats-";
/// What begins the names of headers that belong to the host.
pub const HEDDLE_PREFIX: &str = "Heddle-";

/// Headers of a dead letter that say what happened.
pub mod dead {
    /// Why the event failed, as one word: a [`CauseClass`](crate::verdict::CauseClass).
    pub const CAUSE_CLASS: &str = "Heddle-Dead-Cause";
    /// The cause in words: one line of at most 1,024 bytes.
    pub const MESSAGE: &str = "Heddle-Dead-Message";
    /// How many attempts were used up, the last one included; earlier deferrals do not count.
    pub const ATTEMPTS: &str = "Heddle-Dead-Attempts";
    /// The name of the handler that gave the event up.
    pub const HANDLER: &str = "Heddle-Dead-Handler";
    /// The digest of the plugin that ran the event, or would have, `sha256:` and 64 digits; absent if none was chosen.
    pub const PLUGIN: &str = "Heddle-Dead-Plugin";
    /// The stream from which the event was read; the dead letter is in that of the application.
    pub const STREAM: &str = "Heddle-Dead-Stream";
    /// The event's sequence in its stream; both together are its id.
    pub const SEQUENCE: &str = "Heddle-Dead-Sequence";
    /// The event's subject, escaped if a header cannot hold it: then [`original`](super::original) has the exact one.
    pub const SUBJECT: &str = "Heddle-Dead-Subject";
    /// When the stream stored the event, in RFC 3339; not when it failed.
    pub const TIME: &str = "Heddle-Dead-Time";
    /// The event's key for people: escaped where it is no plain line, and at most 1,024 bytes.
    pub const KEY: &str = "Heddle-Dead-Key";
    /// The key as a token of a subject.
    pub const KEY_TOKEN: &str = "Heddle-Dead-Key-Token";
    /// A fingerprint of the cause: the same for all failures with that cause.
    pub const FINGERPRINT: &str = "Heddle-Dead-Fingerprint";
    /// The limit that was breached, its value, and what was used.
    pub const LIMIT: &str = "Heddle-Dead-Limit";
    /// What the limit allows, with its unit, as in `64 bytes`.
    pub const LIMIT_ALLOWED: &str = "Heddle-Dead-Limit-Allowed";
    /// What was used, with the unit of the limit, or `more` where nobody knows how much.
    pub const LIMIT_USED: &str = "Heddle-Dead-Limit-Used";
    /// When a run failed. Once for each of the last runs.
    pub const FAILED_AT: &str = "Heddle-Dead-Failed-At";
    /// A frame of the plugin's stack, the innermost first.
    pub const FRAME: &str = "Heddle-Dead-Frame";
    /// A line that the plugin wrote in its last run.
    pub const LOG: &str = "Heddle-Dead-Log";
    /// The plugin's version, if it says one.
    pub const VERSION: &str = "Heddle-Dead-Plugin-Version";
    /// The id of the event that began the chain; the own id of an event that began one.
    pub const CORRELATION: &str = "Heddle-Dead-Correlation";
    /// The W3C trace id, 32 hexadecimal digits; absent where the event belongs to no trace.
    pub const TRACE: &str = "Heddle-Dead-Trace";
    /// How often the event was replayed before.
    pub const REPLAYS: &str = "Heddle-Dead-Replays";
    /// What all of these begin with.
    pub const PREFIX: &str = "Heddle-Dead-";
    /// Set when the event's own headers did not fit and were left out: how many there were.
    pub const HEADERS_LEFT_OUT: &str = "Heddle-Dead-Headers-Left-Out";
    /// Set when the payload did not fit beside these headers and was left out.
    pub const PAYLOAD_LEFT_OUT: &str = "Heddle-Dead-Payload-Left-Out";
}

/// Headers of a dead letter or a held-back event that carry what came with the event itself.
pub mod original {
    /// What begins the names of all of these. Before a name that could be taken for one of ours, the rest is that name.
    pub const PREFIX: &str = "Heddle-Original-";
    /// The event's header block in base64, where it cannot be sent as headers.
    pub const BLOCK: &str = "Heddle-Original-Headers";
    /// The event's subject in base64, where it does not fit into a header as it is.
    pub const SUBJECT: &str = "Heddle-Original-Subject";
}

/// Headers of an event that was held back: what it was.
pub mod held {
    /// The stream from which the event was read; the message is in that of the application.
    pub const STREAM: &str = "Heddle-Held-Stream";
    /// The event's sequence in its stream; both together are its id.
    pub const SEQUENCE: &str = "Heddle-Held-Sequence";
    /// The event's subject, escaped if a header cannot hold it: then [`original`](super::original) has the exact one.
    pub const SUBJECT: &str = "Heddle-Held-Subject";
    /// When its stream stored the event, in RFC 3339; not when it was held back.
    pub const TIME: &str = "Heddle-Held-Time";
    /// What all of these begin with.
    pub const PREFIX: &str = "Heddle-Held-";
    /// Set when the payload did not fit beside these headers: it is still in its stream.
    pub const PAYLOAD_LEFT_OUT: &str = "Heddle-Held-Payload-Left-Out";
}

/// Headers of a request to replay a dead letter, and of its outcome.
pub mod replay {
    /// What all of these begin with.
    pub const PREFIX: &str = "Heddle-Replay-";
    /// Set when the event is not to run, only its key to be held no longer.
    pub const RELEASE: &str = "Heddle-Replay-Release";
    /// Set when the request has a payload in place of the dead letter's.
    pub const EDITED: &str = "Heddle-Replay-Edited";
    /// Set when the request is for a key and no dead letter: its payload is the key, which is to be released.
    pub const KEY: &str = "Heddle-Replay-Key";
    /// [`DONE`], [`DEAD`] or [`RELEASED`].
    pub const OUTCOME: &str = "Heddle-Replay-Outcome";
    /// The handler did its work on the event, and the effects are stored.
    pub const DONE: &str = "done";
    /// It became a dead letter again.
    pub const DEAD: &str = "dead";
    /// The event was not run; what was held back behind it goes on.
    pub const RELEASED: &str = "released";
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

    /// Everything that a host sends itself, outside of any stream, to see whether a connection still carries something.
    pub fn all_live(&self) -> String {
        self.live(">")
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

    /// The shard, the handler and the key's token of a state's subject.
    pub fn parse_state<'a>(&self, subject: &'a str) -> Option<(u16, &'a str, &'a str)> {
        self.parse_of_key(subject, "state.")
    }

    /// The shard, the handler and the key's token of an event that was held back.
    pub fn parse_held<'a>(&self, subject: &'a str) -> Option<(u16, &'a str, &'a str)> {
        self.parse_of_key(subject, "held.")
    }

    /// All states.
    pub fn states(&self) -> String {
        format!("{}state.>", self.internal)
    }

    /// The presence of a host.
    pub fn member(&self, host: &str) -> String {
        format!("{}member.{host}", self.internal)
    }

    /// Where a connection of this application hears itself.
    pub fn live(&self, connection: &str) -> String {
        format!("{}{connection}", self.internal.replacen("_heddle", LIVE, 1))
    }

    /// The presence of all hosts.
    pub fn members(&self) -> String {
        format!("{}member.*", self.internal)
    }

    /// Where a message waits that is to be published later: one subject for each.
    pub fn schedule(&self, handler: &str, event: Position, index: usize) -> String {
        format!("{}schedule.{handler}.{}.{index}", self.internal, u64::from(event))
    }

    /// All messages that wait for their time.
    pub fn schedules(&self) -> String {
        format!("{}schedule.>", self.internal)
    }

    /// Whether the key of this token is held for a handler. `shard` is the key's.
    pub fn gate(&self, shard: u16, handler: &str, token: &str) -> String {
        format!("{}gate.{shard}.{handler}.{token}", self.internal)
    }

    /// Whether the key of this token is held for a handler, where the key's shard is not known.
    pub fn gate_anywhere(&self, handler: &str, token: &str) -> String {
        format!("{}gate.*.{handler}.{token}", self.internal)
    }

    /// All gates.
    pub fn gates(&self) -> String {
        format!("{}gate.>", self.internal)
    }

    /// Shard, handler and token of a gate's subject.
    pub fn parse_gate<'a>(&self, subject: &'a str) -> Option<(u16, &'a str, &'a str)> {
        self.parse_of_key(subject, "gate.")
    }

    fn parse_of_key<'a>(&self, subject: &'a str, kind: &str) -> Option<(u16, &'a str, &'a str)> {
        let rest = subject.strip_prefix(&*self.internal)?.strip_prefix(kind)?;
        let mut parts = rest.splitn(3, '.');
        Some((parts.next()?.parse().ok()?, parts.next()?, parts.next()?))
    }

    /// The events of a key that are held back.
    pub fn held(&self, shard: u16, handler: &str, token: &str) -> String {
        format!("{}held.{shard}.{handler}.{token}", self.internal)
    }

    /// All events of a handler that are held back.
    pub fn held_of(&self, handler: &str) -> String {
        format!("{}held.*.{handler}.>", self.internal)
    }

    /// All events that are held back.
    pub fn all_held(&self) -> String {
        format!("{}held.>", self.internal)
    }

    /// A request to replay the dead letter at a sequence, or to release a key.
    pub fn replay(&self, handler: &str, what: &str) -> String {
        format!("{}replay.{handler}.{what}", self.internal)
    }

    /// All requests.
    pub fn replays(&self) -> String {
        format!("{}replay.>", self.internal)
    }

    /// The handler of a request's subject, and what it asks for.
    pub fn parse_replay<'a>(&self, subject: &'a str) -> Option<(&'a str, &'a str)> {
        subject.strip_prefix(&*self.internal)?.strip_prefix("replay.")?.split_once('.')
    }

    /// The outcome of a request.
    pub fn replayed(&self, handler: &str, what: &str) -> String {
        format!("{}replayed.{handler}.{what}", self.internal)
    }

    /// The outcomes of all requests.
    pub fn all_replayed(&self) -> String {
        format!("{}replayed.>", self.internal)
    }

    /// Everything that a handler leaves but its progress and its dead letters.
    pub fn left_by(&self, handler: &str) -> [String; 5] {
        let replays = format!("{}replay.{handler}.>", self.internal);
        let gates = format!("{}gate.*.{handler}.>", self.internal);
        [self.states_of(handler), gates, self.held_of(handler), replays, self.rollout(handler)]
    }

    /// The rollout record of a handler's plugin.
    pub fn rollout(&self, handler: &str) -> String {
        format!("{}plugin.{handler}", self.internal)
    }

    /// The rollout records of all handlers.
    pub fn rollouts(&self) -> String {
        format!("{}plugin.*", self.internal)
    }

    /// The handler of such a subject.
    pub fn parse_rollout<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&*self.internal)?.strip_prefix("plugin.")
    }

    /// A command to a handler's versions; none: to the host.
    pub fn command(&self, handler: Option<&str>) -> String {
        match handler {
            Some(handler) => format!("{}command.handler.{handler}", self.internal),
            None => format!("{}command.host", self.internal),
        }
    }

    /// All orders.
    pub fn commands(&self) -> String {
        format!("{}command.>", self.internal)
    }

    /// The handler of a command's subject; none: it is to the host.
    pub fn parse_command<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&*self.internal)?.strip_prefix("command.handler.")
    }

    /// The answer to the command at a sequence.
    pub fn answer(&self, sequence: u64) -> String {
        format!("{}answer.{sequence}", self.internal)
    }

    /// What operators did, and which versions came and went.
    pub fn audit(&self) -> String {
        format!("{}audit", self.internal)
    }

    /// How far the application had come when its host stopped in good order.
    pub fn mark(&self) -> String {
        format!("{}mark", self.internal)
    }

    /// All dead letters.
    pub fn all_dead_letters(&self) -> String {
        format!("{}>", self.dead)
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
