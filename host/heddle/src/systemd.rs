//! Notifies systemd: the host is ready, alive, stopping.
//!
//! Promises to do nothing where nobody listens: outside of systemd, or in a unit of another type than `notify`. The protocol
//! is that of `sd_notify(3)`.

use std::future::pending;
use std::time::Duration;

use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// A host that is ready for systemd.
pub(super) struct Systemd {
    /// When the watchdog is notified next; none: there is none.
    pulse: Option<Interval>,
}

impl Systemd {
    /// The host runs.
    pub(super) fn running(status: &str) -> Self {
        send(&[NotifyState::Ready, NotifyState::Status(status)]);
        let asked = watchdog_enabled().filter(|period| !period.is_zero());
        let pulse = asked.map(|period| {
            // Twice in each period, as the manual advises.
            let mut pulse = interval((period / 2).max(Duration::from_millis(1)));
            pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pulse
        });
        Systemd { pulse }
    }

    /// Comes back each time after the watchdog was notified. Cancel-safe.
    pub(super) async fn pulse(&mut self) {
        match &mut self.pulse {
            None => pending().await,
            Some(pulse) => {
                pulse.tick().await;
                send(&[NotifyState::Watchdog]);
            }
        }
    }

    /// The host stops.
    pub(super) fn stopping(&self) {
        send(&[NotifyState::Stopping, NotifyState::Status("finishing what runs")]);
    }
}

fn send(what: &[NotifyState<'_>]) {
    if let Err(error) = notify(what) {
        tracing::debug!(%error, "systemd cannot be notified");
    }
}
