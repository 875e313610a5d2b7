//! Presence: whether another host that has announced itself is alive.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Error;
use crate::broker::{self, Broker, Stored};
use crate::values::member::{Member, Process};
use crate::values::names::Names;
use crate::values::settings::Settings;

/// What is known of a host that announced itself.
#[derive(Debug, PartialEq, Eq)]
enum Presence {
    Gone,
    /// Its process is there.
    Alive,
    /// It runs where this host cannot look.
    Unknown,
}

fn presence(member: &Member, me: &Process) -> Presence {
    if member.process.machine != me.machine {
        return Presence::Unknown;
    }
    match started(member.process.pid) {
        Some(started) if started == member.process.started => Presence::Alive,
        _ => Presence::Gone,
    }
}

/// When a process of this machine started, in clock ticks since boot; none if there is no such process, or if it has
/// ended and only waits to be reaped.
///
/// Source: proc(5), fields 3 and 22 of `/proc/<pid>/stat`; the name in field 2 is in parentheses and may hold blanks.
pub fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Waits until no other host is alive, or says that one is: its process is there, or it renewed its
/// announcement while this host waited.
pub(super) async fn wait_for_others(
    broker: &Broker,
    settings: &Settings,
    names: &Names,
    me: &Member,
) -> Result<(), Error> {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let mut waiting = false;
        for (message, member) in members(broker, &settings.stream.name, names).await? {
            if member.host == me.host {
                continue;
            }
            let renewed =
                seen.insert(member.host.clone(), message.sequence).is_some_and(|s| s != message.sequence);
            let presence = presence(&member, &me.process);
            if renewed || presence == Presence::Alive {
                return Err(Error::Taken {
                    app: settings.app.clone(),
                    host: member.host,
                    hostname: member.process.hostname,
                    pid: member.process.pid,
                });
            }
            if presence == Presence::Gone {
                broker.purge(&settings.stream.name, &names.member(&member.host)).await?;
                continue;
            }
            if !std::mem::replace(&mut waiting, true) {
                tracing::info!(
                    host = member.host,
                    hostname = member.process.hostname,
                    "waiting to see whether the host that has the application is alive"
                );
            }
        }
        if !waiting {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// All hosts that have announced themselves.
pub async fn members(
    broker: &Broker,
    stream: &str,
    names: &Names,
) -> Result<Vec<(Stored, Member)>, broker::Error> {
    let mut members = Vec::new();
    for (subject, _) in broker.subjects(stream, &names.members()).await? {
        let Some(message) = broker.last(stream, &subject).await? else { continue };
        if let Ok(member) = serde_json::from_slice(&message.payload) {
            members.push((message, member));
        }
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(machine: &str, pid: u32, started: u64) -> Member {
        let process = Process { machine: machine.into(), pid, started, hostname: "h".into() };
        Member { host: "x".into(), process, version: String::new(), handlers: BTreeMap::new() }
    }

    #[test]
    fn a_dead_process_of_this_machine_is_known_to_be_gone() {
        let pid = std::process::id();
        let since = started(pid).expect("this process runs");
        let me = Process { machine: "m".into(), pid: 0, started: 0, hostname: "h".into() };
        assert_eq!(presence(&member("m", pid, since), &me), Presence::Alive);
        assert_eq!(presence(&member("m", pid, since + 1), &me), Presence::Gone, "the id was used again");
        assert_eq!(presence(&member("m", u32::MAX, 1), &me), Presence::Gone);
        assert_eq!(presence(&member("elsewhere", pid, since), &me), Presence::Unknown);
    }
}
