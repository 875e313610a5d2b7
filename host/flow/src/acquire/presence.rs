//! Presence: whether another host that has announced itself is alive.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Error;
use heddle_broker::{self as broker, Broker, Stored};
use heddle_values::member::{Member, Process};
use heddle_values::names::Names;
use heddle_values::settings::Settings;

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

/// How long a host that runs is given to say that it drains: it may have been asked to stop a moment ago.
const SECOND_LOOK: Duration = Duration::from_millis(750);

/// The interval at which it is checked whether a host that drains has ended.
const DRAINING_POLL: Duration = Duration::from_millis(100);

/// The interval at which it is checked whether a host elsewhere renews its announcement.
const POLL: Duration = Duration::from_secs(1);

/// What is known of the others, from one look to the next.
#[derive(Debug, Default)]
struct Others {
    /// The sequence of each one's last announcement, and when it was first seen to run.
    seen: BTreeMap<String, (u64, Option<Instant>)>,
}

/// What follows from another host's announcement.
#[derive(Debug, PartialEq, Eq)]
enum Course {
    /// Its announcement is removed.
    Remove,
    /// It runs the application.
    Taken,
    /// It drains, or may be about to say so.
    Draining,
    /// It is not known yet whether it is alive.
    Unknown,
}

impl Others {
    fn course(&mut self, member: &Member, sequence: u64, me: &Process, now: Instant) -> Course {
        let (before, running_since) = self.seen.entry(member.host.clone()).or_insert((sequence, None));
        let renewed = std::mem::replace(before, sequence) != sequence;
        match presence(member, me) {
            Presence::Gone => Course::Remove,
            _ if member.draining => Course::Draining,
            Presence::Alive => {
                let since = *running_since.get_or_insert(now);
                if now.duration_since(since) < SECOND_LOOK { Course::Draining } else { Course::Taken }
            }
            Presence::Unknown if renewed => Course::Taken,
            Presence::Unknown => Course::Unknown,
        }
    }
}

/// Waits until no other host is alive, or says that one is: its process is there, or it renewed its
/// announcement while this host waited. One that drains is waited for.
pub(super) async fn wait_for_others(
    broker: &Broker,
    settings: &Settings,
    names: &Names,
    me: &Member,
) -> Result<(), Error> {
    let mut others = Others::default();
    let mut reported = BTreeSet::new();
    loop {
        let mut poll = None;
        for (message, member) in members(broker, &settings.stream.name, names).await? {
            if member.host == me.host {
                continue;
            }
            let course = others.course(&member, message.sequence, &me.process, Instant::now());
            let Member { host, process: Process { hostname, pid, .. }, draining, .. } = member;
            match course {
                Course::Remove => broker.purge(&settings.stream.name, &names.member(&host)).await?,
                Course::Taken => return Err(Error::Taken { app: settings.app.clone(), host, hostname, pid }),
                Course::Draining => {
                    poll = Some(DRAINING_POLL);
                    if draining && reported.insert((host.clone(), draining)) {
                        tracing::info!(
                            host,
                            hostname,
                            pid,
                            "waiting for the host that has the application: it drains"
                        );
                    }
                }
                Course::Unknown => {
                    poll = poll.or(Some(POLL));
                    if reported.insert((host.clone(), draining)) {
                        tracing::info!(
                            host,
                            hostname,
                            "waiting to see whether the host that has the application is alive"
                        );
                    }
                }
            }
        }
        let Some(poll) = poll else { return Ok(()) };
        tokio::time::sleep(poll).await;
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
        match serde_json::from_slice(&message.payload) {
            Ok(member) => members.push((message, member)),
            Err(error) => tracing::warn!(
                subject,
                %error,
                "announcement of a host cannot be read: another version of heddle may have written it"
            ),
        }
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(machine: &str, pid: u32, started: u64) -> Member {
        let process = Process { machine: machine.into(), pid, started, hostname: "h".into() };
        let (version, handlers) = (String::new(), BTreeMap::new());
        Member { host: "x".into(), process, version, draining: false, tasks: 0, handlers }
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
    #[test]
    fn a_host_that_drains_is_waited_for_and_one_that_goes_on_running_has_the_application() {
        let pid = std::process::id();
        let here = member("m", pid, started(pid).expect("this process runs"));
        let me = Process { machine: "m".into(), pid: 0, started: 0, hostname: "h".into() };
        let (began, mut others) = (Instant::now(), Others::default());
        let later = began + SECOND_LOOK;
        assert_eq!(others.course(&here, 1, &me, began), Course::Draining, "it may be about to say so");
        let draining = Member { draining: true, ..here.clone() };
        assert_eq!(others.course(&draining, 2, &me, later), Course::Draining);
        assert_eq!(others.course(&here, 3, &me, later), Course::Taken);

        let elsewhere = Member { host: "y".into(), ..member("elsewhere", pid, 1) };
        let draining = Member { draining: true, ..elsewhere.clone() };
        assert_eq!(others.course(&elsewhere, 4, &me, began), Course::Unknown);
        assert_eq!(others.course(&draining, 5, &me, began), Course::Draining, "renewed, but on its way out");
        assert_eq!(others.course(&elsewhere, 6, &me, began), Course::Taken);
    }
}
