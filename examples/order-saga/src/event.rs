//! The messages of the saga, typed.
//!
//! A [`Message`] is what the stream holds; [`Event::read`] says what it means in the saga. Which stage
//! follows from which, and by which handler, stands here and nowhere else.

use serde::{Deserialize, Serialize};

/// The header that names the event a message came from, as `<stream>/<sequence>`.
pub const CAUSE: &str = "Heddle-Cause";

/// The header that names the event that began the chain.
pub const CORRELATION: &str = "Heddle-Correlation";

/// One message as the stream holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its place in the stream.
    pub sequence: u64,
    /// When the stream stored it, in nanoseconds since 1970.
    pub time: u64,
    /// The subject.
    pub subject: String,
    /// All headers, in no particular order.
    pub headers: Vec<(String, String)>,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Message {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// The handlers of the saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Handler {
    /// Opens and settles orders.
    Order,
    /// Keeps the credit of each customer.
    Credit,
    /// Writes the notices.
    Notify,
}

/// The stages an order passes through. All orders reach each but `Released` exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// `order.placed`, from outside.
    Placed,
    /// `order.created`.
    Created,
    /// `credit.reserved` or `credit.exceeded`.
    Decided,
    /// `order.approved` or `order.cancelled`.
    Settled,
    /// `credit.released`, for a cancelled order that had credit reserved.
    Released,
    /// `notice.sent`.
    Noticed,
}

impl Stage {
    /// Every stage, earliest first.
    pub const ALL: [Self; 6] =
        [Self::Placed, Self::Created, Self::Decided, Self::Settled, Self::Released, Self::Noticed];

    /// Which handler takes an order to this stage because it reached which other; none for what comes from
    /// outside.
    pub fn origin(self) -> Option<(Handler, Self)> {
        match self {
            Self::Placed => None,
            Self::Created => Some((Handler::Order, Self::Placed)),
            Self::Decided => Some((Handler::Credit, Self::Created)),
            Self::Settled => Some((Handler::Order, Self::Decided)),
            Self::Released => Some((Handler::Credit, Self::Settled)),
            Self::Noticed => Some((Handler::Notify, Self::Settled)),
        }
    }

    /// The subjects of this stage, as people read them.
    pub fn subjects(self) -> &'static str {
        match self {
            Self::Placed => "order.placed",
            Self::Created => "order.created",
            Self::Decided => "credit.reserved or credit.exceeded",
            Self::Settled => "order.approved or order.cancelled",
            Self::Released => "credit.released",
            Self::Noticed => "notice.sent",
        }
    }
}

/// Payload of `order.placed`, `order.created` and `order.approved`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The order's name.
    pub order: String,
    /// What is ordered.
    pub item: String,
    /// What it costs.
    pub amount: u64,
}

/// Payload of `credit.reserved`, `credit.exceeded` and `credit.released`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The order's name.
    pub order: String,
    /// What the order costs.
    pub amount: u64,
    /// What the customer has reserved after the event.
    pub reserved: u64,
    /// What the customer may reserve.
    pub limit: u64,
}

/// Payload of `order.cancelled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// The order's name.
    pub order: String,
    /// What the order costs.
    pub amount: u64,
    /// Why it was cancelled.
    pub reason: Reason,
}

/// Why an order was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The customer's credit did not reach.
    Credit,
    /// The item is no longer made.
    Discontinued,
}

/// Payload of `notice.sent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The number of the line: 1, 2, 3… for each customer.
    pub n: u64,
    /// The order's name.
    pub order: String,
    /// What the customer reads.
    pub line: String,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// `order.placed`
    Placed(Placement),
    /// `order.created`
    Created(Placement),
    /// `credit.reserved`
    Reserved(Account),
    /// `credit.exceeded`
    Exceeded(Account),
    /// `order.approved`
    Approved(Placement),
    /// `order.cancelled`
    Cancelled(Cancellation),
    /// `credit.released`
    Released(Account),
    /// `notice.sent`
    Notice(Notice),
}

/// One message of the saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the stream.
    pub sequence: u64,
    /// When the stream stored it, in nanoseconds since 1970.
    pub time: u64,
    /// The customer: the last token of the subject.
    pub customer: String,
    /// The header [`CAUSE`].
    pub cause: Option<String>,
    /// The header [`CORRELATION`].
    pub correlation: Option<String>,
    /// What it says.
    pub body: Body,
}

/// What a message is to the saga.
#[derive(Debug)]
pub enum Reading {
    /// An event of the saga.
    Event(Event),
    /// An event that was given up.
    DeadLetter,
    /// The host's own bookkeeping.
    Internal,
    /// Neither: why not.
    Unreadable(String),
}

impl Event {
    /// Says what a message is to the saga.
    pub fn read(message: &Message) -> Reading {
        if message.subject.starts_with("dead.") {
            return Reading::DeadLetter;
        }
        if message.subject.starts_with("_heddle.") {
            return Reading::Internal;
        }
        match read_body(message) {
            Ok((body, customer)) => Reading::Event(Self {
                sequence: message.sequence,
                time: message.time,
                customer,
                cause: message.header(CAUSE).map(str::to_owned),
                correlation: message.header(CORRELATION).map(str::to_owned),
                body,
            }),
            Err(why) => Reading::Unreadable(why),
        }
    }

    /// The name of the order this event is about.
    pub fn order(&self) -> &str {
        match &self.body {
            Body::Placed(b) | Body::Created(b) | Body::Approved(b) => &b.order,
            Body::Reserved(b) | Body::Exceeded(b) | Body::Released(b) => &b.order,
            Body::Cancelled(b) => &b.order,
            Body::Notice(b) => &b.order,
        }
    }

    /// What the order costs, where the event says so.
    pub fn amount(&self) -> Option<u64> {
        match &self.body {
            Body::Placed(b) | Body::Created(b) | Body::Approved(b) => Some(b.amount),
            Body::Reserved(b) | Body::Exceeded(b) | Body::Released(b) => Some(b.amount),
            Body::Cancelled(b) => Some(b.amount),
            Body::Notice(_) => None,
        }
    }

    /// The stage this event takes its order to.
    pub fn stage(&self) -> Stage {
        match &self.body {
            Body::Placed(_) => Stage::Placed,
            Body::Created(_) => Stage::Created,
            Body::Reserved(_) | Body::Exceeded(_) => Stage::Decided,
            Body::Approved(_) | Body::Cancelled(_) => Stage::Settled,
            Body::Released(_) => Stage::Released,
            Body::Notice(_) => Stage::Noticed,
        }
    }

    /// How many handlers react to this event.
    pub fn readers(&self) -> u64 {
        match &self.body {
            Body::Cancelled(_) => 2,
            Body::Released(_) | Body::Notice(_) => 0,
            _ => 1,
        }
    }
}

fn read_body(message: &Message) -> Result<(Body, String), String> {
    let payload = message.payload.as_slice();
    let Some((head, customer)) = message.subject.rsplit_once('.') else {
        return Err("the subject has no customer".to_owned());
    };
    let body = match head {
        "order.placed" => serde_json::from_slice(payload).map(Body::Placed),
        "order.created" => serde_json::from_slice(payload).map(Body::Created),
        "order.approved" => serde_json::from_slice(payload).map(Body::Approved),
        "order.cancelled" => serde_json::from_slice(payload).map(Body::Cancelled),
        "credit.reserved" => serde_json::from_slice(payload).map(Body::Reserved),
        "credit.exceeded" => serde_json::from_slice(payload).map(Body::Exceeded),
        "credit.released" => serde_json::from_slice(payload).map(Body::Released),
        "notice.sent" => serde_json::from_slice(payload).map(Body::Notice),
        _ => return Err("the saga has no such subject".to_owned()),
    };
    body.map(|body| (body, customer.to_owned())).map_err(|error| format!("the payload does not fit: {error}"))
}
