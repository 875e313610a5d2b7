//! Hosts that do one thing wrong, each to be found out.

use crate::model::Promise;

/// What a host does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Takes a batch for stored that never reached the server.
    TakesLostForStored,
    /// Hands finished events to the commit in another order.
    TakesOutOfOrder,
    /// Goes on reading where the host before it stood.
    ForgetsToReread,
    /// Writes checkpoints as if it had read more than it has.
    ReadsAheadOfItself,
    /// The server stores what a dead host still had under way.
    StoresLateBatches,
    /// Begins some runs twice.
    BeginsTwice,
    /// Wakes lanes before their time.
    WakesEarly,
    /// Never wakes a lane.
    NeverWakes,
    /// Never fetches.
    ForgetsFetches,
    /// Never writes down that an attempt was used up.
    ForgetsRecords,
    /// Never tells the shards that an event is committed.
    ForgetsSettled,
    /// Loses what cannot be done.
    DropsDeadLetters,
    /// Lets the next event see the state that is stored, not what the one before made of it.
    ForgetsStates,
    /// Does not read the gates when it takes over.
    ForgetsGates,
    /// Forgets when it takes over which requests are done.
    ForgetsReplays,
    /// Looks for what was held back before all of it is stored.
    DrainsTooEarly,
    /// Takes the first look at what was held back for all of it.
    OpensTooEarly,
    /// Removes requests before their dead letters.
    RemovesRequestsFirst,
    /// Counts what fails in an outage.
    CountsOutages,
    /// Goes on from what it read of a shard before it claimed it.
    ClaimsBlindly,
    /// Reads a shard that it has claimed from where its handlers are.
    ReadsOnFromItsPlace,
    /// Takes a shard that it has claimed for one without states.
    TakesForStateless,
    /// Does not read the requests again for a shard that it has claimed.
    ForgetsRequests,
    /// Goes on with a shard that another host has claimed: it claims it back when a commit is refused, and keeps what it has.
    TakesBackWhatItLost,
}

impl Sabotage {
    /// All of them, each with a promise that it breaks.
    pub(crate) const ALL: [(Sabotage, Promise); 24] = [
        (Sabotage::TakesLostForStored, Promise::ExactlyOnce),
        (Sabotage::TakesOutOfOrder, Promise::ExactlyOnce),
        (Sabotage::ForgetsToReread, Promise::Checkpoint),
        (Sabotage::ReadsAheadOfItself, Promise::Checkpoint),
        (Sabotage::StoresLateBatches, Promise::ExactlyOnce),
        (Sabotage::BeginsTwice, Promise::Order),
        (Sabotage::WakesEarly, Promise::BackOff),
        (Sabotage::NeverWakes, Promise::NothingLost),
        (Sabotage::ForgetsFetches, Promise::NothingLost),
        (Sabotage::ForgetsRecords, Promise::Attempts),
        (Sabotage::ForgetsSettled, Promise::Held),
        (Sabotage::DropsDeadLetters, Promise::NothingLost),
        (Sabotage::ForgetsStates, Promise::ExactlyOnce),
        (Sabotage::ForgetsGates, Promise::Gate),
        (Sabotage::ForgetsReplays, Promise::ExactlyOnce),
        (Sabotage::DrainsTooEarly, Promise::HeldBack),
        (Sabotage::OpensTooEarly, Promise::Gate),
        (Sabotage::RemovesRequestsFirst, Promise::Replay),
        (Sabotage::CountsOutages, Promise::Attempts),
        (Sabotage::ClaimsBlindly, Promise::Checkpoint),
        (Sabotage::ReadsOnFromItsPlace, Promise::Checkpoint),
        (Sabotage::TakesForStateless, Promise::ExactlyOnce),
        (Sabotage::ForgetsRequests, Promise::NothingLost),
        (Sabotage::TakesBackWhatItLost, Promise::ExactlyOnce),
    ];
}
