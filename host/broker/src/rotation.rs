//! Which server comes next when a connection is made or lost.
//!
//! Promises that the server that was lost is not the first to be tried: its machine may take connections and answer
//! nothing, and each try costs the time-out. Servers that others tell of are tried between those that the settings name,
//! for they may be addresses that cannot be reached from here.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{ReconnectToServer, Server, ServerAddr};

use heddle_values::servers::{Address, Login};

/// How much longer the wait becomes with every round in which no server could be reached, and the longest wait.
const DELAY: Duration = Duration::from_millis(50);
const MAX_DELAY: Duration = Duration::from_millis(500);

/// The wait while servers refuse the login: they count and log each try.
const REFUSED_DELAY: Duration = Duration::from_secs(2);

/// The interval at which the log says that no server can be reached.
const COMPLAIN: Duration = Duration::from_secs(10);

/// The order of the servers of one connection.
#[derive(Debug)]
pub(super) struct Rotation {
    logins: Vec<(ServerAddr, Option<Login>)>,
    /// Not a task: the library asks it for the next server and wants an answer.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    order: Order<ServerAddr>,
    complained: Option<Instant>,
}

/// An address that the library cannot use. It holds no login.
#[derive(Debug)]
pub(super) struct Unusable(pub(super) String);

impl Rotation {
    pub(super) fn new(addresses: Vec<Address>) -> Result<Self, Unusable> {
        let parse = |address: Address| match address.url.parse() {
            Ok(parsed) => Ok((parsed, address.login)),
            Err(_) => Err(Unusable(address.url)),
        };
        let logins: Vec<_> = addresses.into_iter().map(parse).collect::<Result<_, _>>()?;
        // Connections of many hosts spread over the servers.
        let order = Order { turn: rand::random_range(0..logins.len().max(1)), ..Order::default() };
        Ok(Rotation { logins, state: Mutex::new(State { order, complained: None }) })
    }

    /// The servers that the settings name.
    pub(super) fn named(&self) -> Vec<ServerAddr> {
        self.logins.iter().map(|(address, _)| address.clone()).collect()
    }

    /// The login in the URL of the server that was chosen last. A server that others told of wants the same as the first
    /// that has one.
    pub(super) fn login(&self) -> Option<Login> {
        let last = self.state().order.last.clone();
        let of = self.logins.iter().find(|(address, _)| Some(address) == last.as_ref());
        match of {
            Some((_, login)) => login.clone(),
            None => self.logins.iter().find_map(|(_, login)| login.clone()),
        }
    }

    /// The connection to the server that was chosen last has come about.
    pub(super) fn connected(&self) {
        let mut state = self.state();
        state.order.connected();
        state.complained = None;
    }

    /// The server to be tried next. `pool` is what the library knows of them.
    pub(super) fn next(&self, connection: &str, pool: &[Server]) -> Option<ReconnectToServer> {
        let mut state = self.state();
        let trouble = pool.iter().find(|server| Some(&server.addr) == state.order.last.as_ref());
        let trouble = trouble.and_then(|server| server.last_error.clone());
        let candidates: Vec<_> =
            pool.iter().map(|server| (server.addr.clone(), server.is_discovered)).collect();
        let next = state.order.next(&candidates)?;
        let refused = trouble.as_ref().is_some_and(|text| text.contains("authorization"));
        let delay = if refused { REFUSED_DELAY } else { (DELAY * state.order.rounds).min(MAX_DELAY) };
        if let Some(reason) = trouble
            && state.complained.is_none_or(|at| at.elapsed() > COMPLAIN)
        {
            state.complained = Some(Instant::now());
            tracing::warn!(
                connection,
                reason,
                next = next.as_url_str(),
                "server cannot be reached; retrying"
            );
        }
        Some(ReconnectToServer { addr: next, delay: Some(delay) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // What is in there is whole after every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The order itself.
#[derive(Debug)]
struct Order<A> {
    last: Option<A>,
    up: bool,
    /// The server of the last connection.
    lost: Option<A>,
    queue: VecDeque<A>,
    /// Rounds since the last connection, saturating.
    rounds: u32,
    /// Where a round begins.
    turn: usize,
}

impl<A> Default for Order<A> {
    fn default() -> Self {
        Order { last: None, up: false, lost: None, queue: VecDeque::new(), rounds: 0, turn: 0 }
    }
}

impl<A: Clone + PartialEq> Order<A> {
    fn connected(&mut self) {
        self.up = true;
    }

    /// The next of `pool`, whose servers are named by the settings or told of by others.
    fn next(&mut self, pool: &[(A, bool)]) -> Option<A> {
        if std::mem::take(&mut self.up) {
            self.lost = self.last.clone();
            self.queue.clear();
            self.rounds = 0;
            self.fill(pool, false);
        } else if self.queue.is_empty() {
            self.rounds = self.rounds.saturating_add(u32::from(self.last.is_some()));
            self.fill(pool, true);
        }
        self.last = self.queue.pop_front();
        self.last.clone()
    }

    /// Another round: one that others told of, and all that are named, the lost one last. At first without the lost one.
    fn fill(&mut self, pool: &[(A, bool)], with_lost: bool) {
        let is_lost = |server: &A| self.lost.as_ref() == Some(server);
        let of =
            |told: bool| pool.iter().filter(move |(_, is_told)| *is_told == told).map(|(server, _)| server);
        let turned = |servers: Vec<&A>| -> Vec<A> {
            let from = self.turn.checked_rem(servers.len()).unwrap_or(0);
            servers.iter().cycle().skip(from).take(servers.len()).map(|server| (*server).clone()).collect()
        };
        let named = turned(of(false).filter(|server| !is_lost(server)).collect());
        let told = turned(of(true).filter(|server| !is_lost(server)).collect()).into_iter().next();
        let mut queue: VecDeque<A> = VecDeque::new();
        // After a loss those that are named come first.
        let told_first = with_lost || named.is_empty();
        queue.extend(told.clone().filter(|_| told_first));
        queue.extend(named);
        queue.extend(told.filter(|_| !told_first));
        if with_lost || queue.is_empty() {
            queue.extend(self.lost.clone().filter(|lost| pool.iter().any(|(server, _)| server == lost)));
        }
        self.turn = self.turn.wrapping_add(1);
        self.queue = queue;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first servers that are tried after a connection to `lost`. Those in capitals are named by the settings.
    fn after(lost: &str, pool: &[&str], tries: usize) -> String {
        let pool: Vec<(String, bool)> = pool
            .iter()
            .map(|server| ((*server).to_owned(), server.chars().all(char::is_lowercase)))
            .collect();
        let mut order = Order { last: Some(lost.to_owned()), ..Order::default() };
        order.connected();
        (0..tries).filter_map(|_| order.next(&pool)).collect()
    }

    #[test]
    fn another_server_comes_first_after_a_loss_and_the_lost_one_last() {
        assert_eq!(after("A", &["A", "B", "C"], 5), "BCCBA");
        assert_eq!(after("A", &["A", "b", "c"], 3), "bcA");
        assert_eq!(after("A", &["A"], 3), "AAA");
        assert_eq!(after("b", &["A", "b"], 3), "AAb");
    }

    #[test]
    fn servers_that_others_tell_of_are_tried_between_those_that_are_named() {
        assert_eq!(after("A", &["A", "u", "v", "w"], 7), "uvAwAuA");
    }

    #[test]
    fn a_host_that_has_lost_nothing_tries_every_server() {
        let pool = [("A", false), ("B", false)];
        let mut order = Order { turn: 1, ..Order::default() };
        let tried: String = (0..4).filter_map(|_| order.next(&pool)).collect();
        assert_eq!((tried.as_str(), order.rounds), ("BAAB", 1));
    }
}
