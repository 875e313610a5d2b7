//! Watching the others: who is silent, who is dead, and whether it is this host itself that hears nothing.
//!
//! Promises that nobody is taken for dead by a host that was itself paused or cut off, nor for one late heartbeat, nor
//! because its NATS node stands still. A host is silent when nothing was heard of it for [`SILENT`]; then it is asked
//! directly, twice, and through another; when nobody has heard it, and its node answers, it is dead. Where the node does not
//! answer either, the host is given [`RECONNECT`] to come back by another one.

use std::collections::BTreeMap;

/// How often a host says that it lives, in milliseconds.
pub const HEARTBEAT: u64 = 500;

/// A host of which nothing was heard for so long is silent, in milliseconds.
pub const SILENT: u64 = 1_500;

/// How long an answer is waited for, in milliseconds.
pub const ANSWER: u64 = 250;

/// How often a silent host is asked directly.
const QUESTIONS: u8 = 2;

/// A host that hears nothing of itself for so long has lost its connection, in milliseconds.
pub const DEAF: u64 = 1_500;

/// A host that was not asked to look for so long stood still, in milliseconds.
pub const STALL: u64 = 1_000;

/// What a client needs to find another node when its own stands still, in milliseconds.
pub const RECONNECT: u64 = 2_000;

/// What the watching host is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Ask a host whether it is there.
    Ask(String),
    /// Ask the other hosts whether they have heard of it.
    AskOthers(String),
    /// See whether a NATS node answers.
    AskNode(String),
    /// This host's own connection carries nothing: force another one.
    Reconnect,
    /// A host is dead.
    Dead(String),
}

/// What is known of another host.
#[derive(Debug, Clone)]
struct Peer {
    /// Which of its lives it is.
    incarnation: u64,
    /// The name of the NATS node that it is connected to.
    node: String,
    /// Since when it is silent, as far as is known: when it was last heard of, by whomever.
    heard: u64,
    /// When this host itself heard it last.
    direct: Option<u64>,
    doubt: Option<Doubt>,
    dead: bool,
}

/// What was done since a host is silent.
#[derive(Debug, Clone, Copy, Default)]
struct Doubt {
    since: u64,
    /// How many of the questions were asked.
    asked: u8,
    /// When the next step is due.
    due: u64,
}

/// A host's view of the others.
#[derive(Debug)]
pub struct Watch {
    peers: BTreeMap<String, Peer>,
    /// When nodes last answered.
    nodes: BTreeMap<String, u64>,
    /// When this host last heard itself.
    echo: u64,
    /// When it last forced another connection.
    reconnected: u64,
    /// When it last looked.
    looked: u64,
    /// How often it began again, since it stood still or heard nothing.
    restarts: u64,
}

impl Watch {
    /// Knows nobody.
    pub fn new(now: u64) -> Self {
        Watch {
            peers: BTreeMap::new(),
            nodes: BTreeMap::new(),
            echo: now,
            reconnected: now,
            looked: now,
            restarts: 0,
        }
    }

    /// A host is a member, by its record in the stream: it is watched from now on. An incarnation that is not newer than
    /// the known one changes nothing.
    pub fn joined(&mut self, host: &str, incarnation: u64, node: &str, now: u64) {
        if self.peers.get(host).is_none_or(|known| known.incarnation < incarnation) {
            let (node, host) = (node.to_owned(), host.to_owned());
            self.peers
                .insert(host, Peer { incarnation, node, heard: now, direct: None, doubt: None, dead: false });
        }
    }

    /// A host has left, and is watched no more.
    pub fn left(&mut self, host: &str) {
        self.peers.remove(host);
    }

    /// A heartbeat of a host, or its answer to a question. Whether it was taken for dead before: it is not, and what was
    /// concluded from that is to be looked at again. One of an earlier life counts for nothing.
    pub fn heard(&mut self, host: &str, incarnation: u64, node: &str, now: u64) -> bool {
        let Some(peer) = self.peers.get_mut(host).filter(|peer| peer.incarnation == incarnation) else {
            return false;
        };
        node.clone_into(&mut peer.node);
        (peer.heard, peer.direct, peer.doubt) = (now, Some(now), None);
        self.nodes.insert(node.to_owned(), now);
        std::mem::take(&mut peer.dead)
    }

    /// Another host has itself heard this one so many milliseconds ago.
    pub fn vouched(&mut self, host: &str, incarnation: u64, age: u64, now: u64) {
        let peer = self.peers.get_mut(host).filter(|peer| peer.incarnation == incarnation && !peer.dead);
        if let Some(peer) = peer.filter(|peer| now.saturating_sub(age) > peer.heard) {
            (peer.heard, peer.doubt) = (now.saturating_sub(age), None);
        }
    }

    /// How long ago this host itself heard another one, if that is not silent by that. What others say is not passed on:
    /// hosts would vouch to each other for a dead one for ever.
    pub fn heard_lately(&self, host: &str, incarnation: u64, now: u64) -> Option<u64> {
        let peer = self.peers.get(host).filter(|peer| peer.incarnation == incarnation && !peer.dead)?;
        Some(now.saturating_sub(peer.direct?)).filter(|age| *age < SILENT)
    }

    /// Whether every host that is not dead was heard: records alone may be of hosts that died long ago.
    pub fn knows_all(&self) -> bool {
        self.peers.values().all(|peer| peer.dead || peer.direct.is_some())
    }

    /// How often the watch began again because this host stood still or heard nothing: what it knew before is old.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Hosts that are dead and have been silent for so many milliseconds, and their incarnations.
    pub fn long_dead(&self, time: u64, now: u64) -> impl Iterator<Item = (&str, u64)> {
        let is_long = move |peer: &Peer| peer.dead && now.saturating_sub(peer.heard) >= time;
        let dead = self.peers.iter().filter(move |(_, peer)| is_long(peer));
        dead.map(|(host, peer)| (host.as_str(), peer.incarnation))
    }

    /// A NATS node answers.
    pub fn node_answers(&mut self, node: &str, now: u64) {
        self.nodes.insert(node.to_owned(), now);
    }

    /// This host heard itself.
    pub fn echo(&mut self, now: u64) {
        // Nothing was heard of anybody meanwhile: that they were silent says nothing.
        if now.saturating_sub(self.echo) > DEAF {
            self.begin_again(now);
        }
        self.echo = now;
    }

    /// Whether what this host hears, or does not, tells anything of others.
    pub fn hears(&self, now: u64) -> bool {
        now.saturating_sub(self.echo) <= DEAF && now.saturating_sub(self.looked) <= STALL
    }

    /// The hosts that are not taken for dead.
    pub fn living(&self) -> impl Iterator<Item = (&str, u64)> {
        self.peers.iter().filter(|(_, peer)| !peer.dead).map(|(host, peer)| (host.as_str(), peer.incarnation))
    }

    /// What is to be done now; to be asked several times for each [`ANSWER`].
    pub fn look(&mut self, now: u64) -> Vec<Act> {
        let before = std::mem::replace(&mut self.looked, now);
        if now.saturating_sub(before) > STALL {
            // It was this host that stood still. It hears nothing until it hears itself.
            self.begin_again(now);
            (self.echo, self.reconnected) = (now.saturating_sub(DEAF + 1), now);
            return Vec::new();
        }
        if now.saturating_sub(self.echo) > DEAF {
            if now.saturating_sub(self.reconnected.max(self.echo)) < DEAF {
                return Vec::new();
            }
            self.reconnected = now;
            return vec![Act::Reconnect];
        }
        let mut acts = Vec::new();
        let nodes = &self.nodes;
        for (host, peer) in self.peers.iter_mut().filter(|(_, peer)| !peer.dead) {
            if now.saturating_sub(peer.heard) >= SILENT {
                doubt(host, peer, nodes, now, &mut acts);
            }
        }
        acts
    }

    /// All silence so far is forgotten.
    fn begin_again(&mut self, now: u64) {
        self.restarts += 1;
        for peer in self.peers.values_mut() {
            (peer.heard, peer.doubt) = (now, None);
        }
    }
}

/// A silent host is asked, then asked for, then given up.
fn doubt(host: &str, peer: &mut Peer, nodes: &BTreeMap<String, u64>, now: u64, acts: &mut Vec<Act>) {
    let doubt = peer.doubt.get_or_insert(Doubt { since: now, asked: 0, due: now });
    if now < doubt.due {
        return;
    }
    doubt.asked = doubt.asked.saturating_add(1);
    doubt.due = now + ANSWER;
    if doubt.asked <= QUESTIONS {
        acts.push(Act::Ask(host.to_owned()));
        if doubt.asked == QUESTIONS {
            // At the same time: what each of them says comes before the next step.
            acts.push(Act::AskOthers(host.to_owned()));
            acts.push(Act::AskNode(peer.node.clone()));
        }
        return;
    }
    let node_answers = nodes.get(&peer.node).is_some_and(|answered| *answered >= doubt.since);
    if node_answers || now.saturating_sub(doubt.since) >= RECONNECT {
        peer.dead = true;
        peer.doubt = None;
        acts.push(Act::Dead(host.to_owned()));
    } else {
        acts.push(Act::Ask(host.to_owned()));
        acts.push(Act::AskNode(peer.node.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: u64 = 50;

    /// Watches `b` and `c`, one on each node, from 0 on.
    fn watch() -> Watch {
        let mut watch = Watch::new(0);
        watch.joined("b", 1, "n2", 0);
        watch.joined("c", 2, "n3", 0);
        watch
    }

    /// Looks from one time to another, hearing itself and whoever is `alive`. What was to be done, and when.
    fn run(watch: &mut Watch, times: std::ops::Range<u64>, alive: &[(&str, u64, &str)]) -> Vec<(u64, Act)> {
        let mut acts = Vec::new();
        for now in times.step_by(STEP as usize) {
            if now % HEARTBEAT == 0 {
                watch.echo(now);
                for (host, incarnation, node) in alive {
                    watch.heard(host, *incarnation, node, now);
                }
            }
            acts.extend(watch.look(now).into_iter().map(|act| (now, act)));
        }
        acts
    }

    /// Who was taken for dead, and when.
    fn deaths(acts: &[(u64, Act)]) -> Vec<(u64, &str)> {
        let mut deaths = Vec::new();
        for (at, act) in acts {
            if let Act::Dead(host) = act {
                deaths.push((*at, host.as_str()));
            }
        }
        deaths
    }

    #[test]
    fn a_host_that_dies_is_known_to_be_dead_within_two_and_a_half_seconds_when_its_node_answers() {
        let mut watch = watch();
        let acts = run(&mut watch, 0..1_000, &[("b", 1, "n2"), ("c", 2, "n3")]);
        assert_eq!(acts, []);
        // The last heartbeat of `b` was at 500; its node answers when it is asked.
        let mut died = None;
        for now in (1_000..4_000).step_by(STEP as usize) {
            if now % HEARTBEAT == 0 {
                watch.echo(now);
                watch.heard("c", 2, "n3", now);
            }
            for act in watch.look(now) {
                match act {
                    Act::AskNode(node) => watch.node_answers(&node, now + 5),
                    Act::Dead(host) => died = Some((host, now)),
                    Act::Ask(_) | Act::AskOthers(_) => {}
                    Act::Reconnect => panic!("it hears itself"),
                }
            }
        }
        assert_eq!(died, Some(("b".to_owned(), 500 + SILENT + 2 * ANSWER)));
        assert_eq!(watch.living().collect::<Vec<_>>(), [("c", 2)]);
    }

    #[test]
    fn one_late_heartbeat_is_no_death_and_an_answer_or_another_hosts_word_ends_all_doubt() {
        let mut watch = watch();
        run(&mut watch, 0..500, &[("b", 1, "n2"), ("c", 2, "n3")]);
        let acts = run(&mut watch, 500..1_700, &[("c", 2, "n3")]);
        assert!(acts.iter().all(|(_, act)| *act == Act::Ask("b".to_owned())) && !acts.is_empty(), "{acts:?}");
        watch.heard("b", 1, "n2", 1_700);
        assert_eq!(run(&mut watch, 1_700..3_000, &[("c", 2, "n3")]), []);
        let acts = run(&mut watch, 3_000..3_500, &[("c", 2, "n3")]);
        assert!(acts.iter().any(|(_, act)| *act == Act::AskOthers("b".to_owned())), "{acts:?}");
        watch.vouched("b", 1, 100, 3_500);
        assert_eq!(run(&mut watch, 3_500..4_800, &[("c", 2, "n3")]), []);
    }

    #[test]
    fn a_node_that_stands_still_gives_its_hosts_time_to_come_back_by_another() {
        let mut watch = watch();
        run(&mut watch, 0..500, &[("b", 1, "n2"), ("c", 2, "n3")]);
        // Nobody answers on n2, until `b` is there again on n1.
        let acts = run(&mut watch, 500..3_400, &[("c", 2, "n3")]);
        assert_eq!(deaths(&acts), []);
        watch.heard("b", 1, "n1", 3_400);
        assert_eq!(run(&mut watch, 3_400..4_500, &[("c", 2, "n3"), ("b", 1, "n1")]), []);
        // One that never comes back is dead all the same.
        let acts = run(&mut watch, 4_500..9_000, &[("c", 2, "n3")]);
        assert_eq!(deaths(&acts), [(4_000 + SILENT + RECONNECT, "b")]);
    }

    #[test]
    fn a_host_that_stood_still_itself_takes_nobody_for_dead() {
        let mut watch = watch();
        run(&mut watch, 0..500, &[("b", 1, "n2"), ("c", 2, "n3")]);
        // It wakes after a minute. The others' next heartbeats come in the second after.
        assert_eq!(watch.look(60_000), []);
        assert_eq!(run(&mut watch, 60_050..61_000, &[]), []);
        assert_eq!(run(&mut watch, 61_000..63_000, &[("b", 1, "n2"), ("c", 2, "n3")]), []);
        assert!(watch.hears(63_000));
    }

    #[test]
    fn a_host_that_does_not_hear_itself_reconnects_and_concludes_nothing() {
        let mut watch = watch();
        run(&mut watch, 0..500, &[("b", 1, "n2"), ("c", 2, "n3")]);
        let mut acts = Vec::new();
        for now in (500..6_000).step_by(STEP as usize) {
            acts.extend(watch.look(now).into_iter().map(|act| (now, act)));
        }
        let times: Vec<u64> = acts.iter().map(|(at, _)| *at).collect();
        assert!(
            acts.iter().skip_while(|(at, _)| *at < DEAF).all(|(_, act)| *act != Act::Dead("b".to_owned()))
        );
        assert!(acts.iter().any(|(_, act)| *act == Act::Reconnect), "{acts:?}");
        assert!(!watch.hears(6_000));
        assert!(times.len() < 10, "it does not force one connection after the other: {acts:?}");
        // What was silent while it was deaf begins again.
        watch.echo(6_000);
        assert_eq!(run(&mut watch, 6_050..7_400, &[]), []);
    }

    #[test]
    fn an_earlier_life_of_a_host_says_nothing_of_the_next_and_one_taken_for_dead_can_be_back() {
        let mut watch = watch();
        watch.joined("b", 7, "n2", 100);
        assert!(!watch.heard("b", 1, "n2", 200) && !watch.heard("x", 1, "n2", 200));
        watch.joined("b", 1, "n2", 300);
        assert_eq!(watch.living().collect::<Vec<_>>(), [("b", 7), ("c", 2)]);
        let acts = run(&mut watch, 500..6_000, &[("c", 2, "n3")]);
        assert_eq!(deaths(&acts).len(), 1);
        assert!(watch.heard("b", 7, "n2", 6_000), "it was not dead");
        watch.left("b");
        assert_eq!(watch.living().collect::<Vec<_>>(), [("c", 2)]);
    }
}
