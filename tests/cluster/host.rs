//! A host of the world, and what comes to it.

use std::collections::BTreeMap;

use heddle_cluster::group::{Assignment, Group, Member, Owner, Word};

/// What comes to a host.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Word(Word),
    Member(String, Member),
    Left(String),
    Assigned(u64, Assignment),
    Proposed(bool),
    Owners(Option<Vec<Owner>>),
    Claimed(u16, Option<u64>),
    Gone(u16, bool),
    NodeAnswers(String),
}

pub(crate) struct Host {
    pub(crate) group: Group,
    pub(crate) node: usize,
    /// When it hears and says something again.
    pub(crate) cut_until: u64,
    /// When it goes on after it stood still.
    pub(crate) still_until: u64,
    pub(crate) inbox: Vec<(u64, Input)>,
    /// The claims by which it owns its shards.
    pub(crate) claims: BTreeMap<u16, u64>,
    /// Shards that it is giving up.
    pub(crate) leaving: BTreeMap<u16, u64>,
    pub(crate) draining: bool,
    /// Nothing that it wants to store is stored.
    pub(crate) unable: bool,
}

pub(crate) fn is_stored(input: &Input) -> bool {
    matches!(input, Input::Member(..) | Input::Left(_) | Input::Assigned(..))
}

pub(crate) fn take(host: &mut Host, input: Input, now: u64) {
    match input {
        Input::Word(word) => host.group.hear(&word, now),
        Input::Member(name, member) => host.group.member(&name, member, now),
        Input::Left(name) => host.group.left(&name, now),
        Input::Assigned(generation, assignment) => host.group.assigned(generation, assignment, now),
        Input::Proposed(stored) => host.group.proposed(stored, now),
        Input::Owners(owners) => host.group.owners(owners, now),
        Input::Claimed(shard, claim) => {
            if let Some(claim) = claim {
                host.claims.insert(shard, claim);
            }
            host.group.claimed(shard, claim, now);
        }
        Input::Gone(shard, released) => host.group.gone(shard, released, now),
        Input::NodeAnswers(node) => host.group.node_answers(&node, now),
    }
}
