//! The gates as the stream has them: which keys are held back, read by the host and by the commands alike.
//!
//! Promises that a key whose gate is stored never counts as open because it could not be read: neither a part of the
//! gates nor a gate that is not understood is passed over.

use thiserror::Error;

use heddle_broker::{self as broker, Broker};
use heddle_values::gate::{Gate, Phase};
use heddle_values::names::Names;

/// Why it is not known which keys are held back.
#[derive(Debug, Error)]
pub enum Error {
    /// The gate on this subject has a form that is not known here. Its key must not count as open.
    #[error(
        "gate on `{0}` cannot be read: a newer heddle may have stored it; run that one, or purge the subject to open the gate, and with it what it holds back"
    )]
    Unreadable(String),
    /// The server could not be asked, or its answer was not whole.
    #[error(transparent)]
    Broker(#[from] broker::Error),
}

/// The gate of a key that is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredGate {
    /// The shard of the key, counted from 0.
    pub shard: u16,
    /// The handler's name. It may be one that is no longer in the application's file.
    pub handler: String,
    /// The key's token.
    pub token: String,
    /// What the last message on its subject says.
    pub gate: Gate,
}

/// Every gate of the application that is not open.
///
/// # Errors
/// The gates cannot be read whole.
pub async fn read(broker: &Broker, stream: &str, names: &Names) -> Result<Vec<StoredGate>, Error> {
    let mut gates = read_all(broker, stream, names).await?;
    gates.retain(|stored| stored.gate.phase != Phase::Open);
    Ok(gates)
}

/// Every gate of the application, those included that were opened within the last hour: so long their marks stay.
pub(super) async fn read_all(broker: &Broker, stream: &str, names: &Names) -> Result<Vec<StoredGate>, Error> {
    let mut gates = Vec::new();
    for message in broker.last_of_each(stream, &names.gates()).await? {
        let place = names.parse_gate(&message.subject).zip(Gate::decode(&message.payload));
        let Some(((shard, handler, token), gate)) = place else {
            return Err(Error::Unreadable(message.subject));
        };
        gates.push(StoredGate { shard, handler: handler.to_owned(), token: token.to_owned(), gate });
    }
    Ok(gates)
}

/// How many of the `copies` of a key's events have not run. Those below the gate's `next` have; they are removed once the
/// key is open.
///
/// # Errors
/// The server does not answer.
pub async fn held_back(
    broker: &Broker,
    stream: &str,
    subject: &str,
    copies: u64,
    next: u64,
) -> Result<u64, broker::Error> {
    if copies == 0 {
        return Ok(0);
    }
    match broker.next_of(stream, subject, 1).await? {
        Some(first) if first.sequence < next => {
            Ok(broker.count_from(stream, &[subject], next).await?.pending)
        }
        Some(_) => Ok(copies),
        // They were removed meanwhile.
        None => Ok(0),
    }
}
