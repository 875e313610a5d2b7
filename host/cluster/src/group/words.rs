//! What the hosts of a group say to each other, what is stored of them, and what a host is to do.

use std::num::NonZeroU32;

/// A life of a host: its id, and the sequence of its first record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life {
    /// The host's id.
    pub host: String,
    /// The sequence of its member record.
    pub incarnation: u64,
}

/// What hosts say to each other, outside of the stream. Everything may be lost, late, or come twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A host lives, and is connected to a NATS node of this name. To all, and to itself.
    Beat {
        /// Who lives.
        life: Life,
        /// The name of its NATS node.
        node: String,
    },
    /// Is that host there? To that host, which answers with a beat.
    Ask {
        /// Who is asked.
        host: String,
    },
    /// Has anybody heard of a host? To all.
    HasAnybodyHeard {
        /// Of whom.
        life: Life,
    },
    /// A host was heard a moment ago, by whoever says so. To all.
    Heard {
        /// Which one.
        life: Life,
        /// How long ago, in milliseconds.
        age: u64,
    },
    /// A host is ready to own a shard, as the assignment of a generation says. To its owner.
    Want {
        /// Who is to give it up.
        owner: String,
        /// Who wants it.
        host: String,
        /// Which shard.
        shard: u16,
        /// The assignment that says so.
        generation: u64,
    },
    /// A host does not own a shard, or not any more. To all: whoever is to have it claims it.
    Free {
        /// Which shard.
        shard: u16,
        /// The claim under which the host has given it up; none: who owns it is to be read.
        claim: Option<u64>,
    },
}

/// What is stored of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The sequence of its first record: which of its lives it is.
    pub incarnation: u64,
    /// How large its share is, compared with others'.
    pub weight: NonZeroU32,
    /// The version of its program: major, minor, patch.
    pub version: (u64, u64, u64),
    /// Whether all its shards are to go to others.
    pub draining: bool,
    /// The NATS node that it was connected to when it wrote the record.
    pub node: String,
}

/// What is stored of a shard: who has claimed it last, and whether that host has given it up since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// None: nobody ever has.
    pub host: Option<String>,
    /// The id of the claim; 0: there is none.
    pub claim: u64,
    /// Whether it is free.
    pub released: bool,
}

/// Which host is to own each shard; none: nobody.
pub type Assignment = Vec<Option<String>>;

/// What the host is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Say something.
    Say(Word),
    /// See whether a NATS node answers, and say [`node_answers`](super::Group::node_answers).
    AskNode(String),
    /// Force another connection.
    Reconnect,
    /// Store an assignment in the place of the one of this generation; 0: there is none. Then say
    /// [`proposed`](super::Group::proposed).
    Propose {
        /// Its sequence.
        after: u64,
        /// Which host is to have each shard.
        assignment: Assignment,
    },
    /// Read who owns the shards, and say [`owners`](super::Group::owners).
    ReadOwners,
    /// Claim a shard, and say [`claimed`](super::Group::claimed).
    Claim {
        /// Which shard.
        shard: u16,
        /// The claim that its checkpoint must still bear; 0: there must be none. With another one it is not to be claimed.
        from: u64,
    },
    /// Give a shard up, and say [`gone`](super::Group::gone).
    Release(u16),
    /// Somebody else seems to own a shard that this host believes to be its own: read who has claimed it, and if it is
    /// another claim, forget the shard and say [`gone`](super::Group::gone).
    Verify(u16),
    /// Remove the record of a host that has been dead for long, if it is still that of this life.
    Forget(Life),
}
