//! The server: whether it can be reached and is new enough, how far away it is, and what an application finds there.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::super::check::{self, Report};
use super::super::fault::{self, Code};
use super::super::target::Origin;
use super::{Dev, Findings};
use heddle_broker::Broker;
use heddle_flow::acquire::members;
use heddle_values::errors::chain;
use heddle_values::names::Names;
use heddle_values::settings::Settings;

const ABOUT: &str = "server";

/// Times of a trip to the server of which the shortest counts.
const TRIPS: usize = 5;

/// From here on, commits wait for the network more than for anything else.
const FAR: Duration = Duration::from_millis(20);

/// Retries and schedules are off by as much as clocks differ between hosts.
const MAX_SKEW: Duration = Duration::from_secs(2);

/// Says what `heddle dev` is to the application.
pub(super) async fn check(settings: &Settings, origin: &Origin, findings: &mut Findings) -> Dev {
    match origin.connect(settings, "heddle doctor").await {
        Ok(broker) => check_reached(&broker, settings, findings).await,
        // As in every new project.
        Err(error) if origin.names_none(settings) && fault::code(&error) == Code::Connect => {
            findings.note(ABOUT, Origin::none_answers(settings));
            return Dev::Needed;
        }
        Err(error) => findings.error(ABOUT, chain(error.as_ref())),
    }
    Dev::Optional
}

async fn check_reached(broker: &Broker, settings: &Settings, findings: &mut Findings) {
    let version = broker.server_version();
    match trip(broker).await {
        Ok(trip) if trip < FAR => {
            findings.ok(ABOUT, format!("nats-server {version} at `{}`, {trip:.1?} away", settings.nats.url));
        }
        Ok(trip) => findings.note(
            ABOUT,
            format!(
                "nats-server {version} at `{}` is {trip:.1?} away: each commit takes as long at least; run hosts near their server",
                settings.nats.url
            ),
        ),
        Err(error) => findings.error(ABOUT, error.to_string()),
    }
    let mut report = Report::default();
    check::check_streams(broker, settings, &mut report).await;
    check::check_rights(broker, settings, &mut report).await;
    of_check(report, findings);
    look_at_clock(broker, settings, findings).await;
    look_at_hosts(broker, settings, findings).await;
}

/// How long the server takes to answer.
async fn trip(broker: &Broker) -> Result<Duration, heddle_broker::Error> {
    let mut shortest = Duration::MAX;
    for _ in 0..TRIPS {
        let began = Instant::now();
        broker.flush().await?;
        shortest = shortest.min(began.elapsed());
    }
    Ok(shortest)
}

/// What `heddle check` says of the same begins with what it is about.
fn of_check(report: Report, findings: &mut Findings) {
    let about = |line: &str| if line.starts_with("permissions") { "permissions" } else { "stream" };
    let rest = |line: &str, about: &str| {
        let rest = line.strip_prefix(about).and_then(|rest| rest.strip_prefix(": "));
        rest.unwrap_or(line).to_owned()
    };
    for line in &report.ok {
        findings.ok(about(line), rest(line, about(line)));
    }
    for line in &report.notes {
        findings.note(about(line), rest(line, about(line)));
    }
    for line in &report.errors {
        findings.error(about(line), rest(line, about(line)));
    }
}

/// The clock of the server beside the one here.
async fn look_at_clock(broker: &Broker, settings: &Settings, findings: &mut Findings) {
    // Without the stream nobody tells the time, and nothing waits for it either.
    let Ok(Some(there)) = broker.clock(&settings.stream.name).await else { return };
    let skew = skew(OffsetDateTime::now_utc(), there);
    match skew > MAX_SKEW {
        false => findings.ok(ABOUT, "its clock agrees with the one here"),
        true => findings.note(
            ABOUT,
            format!("its clock and the one here differ by {skew:.0?}: times of retries and schedules are off by that; let both follow NTP"),
        ),
    }
}

fn skew(here: OffsetDateTime, there: OffsetDateTime) -> Duration {
    (here - there).unsigned_abs()
}

/// The hosts that run the application.
async fn look_at_hosts(broker: &Broker, settings: &Settings, findings: &mut Findings) {
    let names = Names::new(&settings.app);
    if let Ok(None) = broker.stream_facts(&settings.stream.name).await {
        return findings.note("hosts", "no host has run the application yet");
    }
    match members(broker, &settings.stream.name, &names).await {
        Ok(hosts) if hosts.is_empty() => findings.note("hosts", "no host runs the application"),
        Ok(hosts) => {
            for (_, host) in hosts {
                let (name, pid, version) = (&host.process.hostname, host.process.pid, &host.version);
                let text = format!("process {pid} on {name} runs it, heddle {version}");
                if *version == env!("CARGO_PKG_VERSION") {
                    findings.ok("hosts", text);
                } else {
                    findings.note("hosts", format!("{text}; this program is {}", env!("CARGO_PKG_VERSION")));
                }
            }
        }
        Err(error) => findings.error("hosts", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_check_keep_their_grade_and_say_what_they_are_about_once() {
        let mut findings = Findings::default();
        let report = Report {
            errors: vec!["permissions: grant this user to publish on `a`".to_owned()],
            notes: vec!["stream `S`: `discard` is old".to_owned()],
            ok: vec!["stream: `S` fits, 3 messages".to_owned()],
        };
        of_check(report, &mut findings);
        let said: Vec<(&str, &str)> =
            findings.0.iter().map(|finding| (finding.about, finding.text.as_str())).collect();
        assert_eq!(
            said,
            [
                ("stream", "`S` fits, 3 messages"),
                ("stream", "stream `S`: `discard` is old"),
                ("permissions", "grant this user to publish on `a`"),
            ]
        );
        assert_eq!(findings.errors(), 1);
    }

    #[test]
    fn clocks_differ_by_the_same_whichever_is_ahead() {
        let here = OffsetDateTime::UNIX_EPOCH;
        let there = here + Duration::from_secs(90);
        assert_eq!(
            (skew(here, there), skew(there, here)),
            (Duration::from_secs(90), Duration::from_secs(90))
        );
    }
}
