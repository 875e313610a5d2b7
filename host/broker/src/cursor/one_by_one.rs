//! Reading without a consumer: past what none can deliver, and while none can be made.
//!
//! A message whose subject or headers the client library does not like breaks the connection off, or is taken for an
//! answer of the server, however often it is delivered. So after every such end of reading the cursor looks at what
//! comes next through [`raw_next`](crate::Broker::raw_next). If that message is one of these, it reads one by one until many
//! in a row are ordinary, and only then goes back to a consumer, which is fifty times as fast. The more often
//! that happens, the longer it stays: a stream full of such messages must not cost a connection for each.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};

use super::{Again, CursorEvents, PULL_BYTES, Reader, Stop};
use crate::{Error, RawStored, Stored};
use heddle_values::event::Event;
use heddle_values::subject::Pattern;

/// Requests under way at once. Measured on one machine: more do not read faster.
const PARALLEL: usize = 64;

/// Messages that are read behind one that was found: the fewest and the most.
const WINDOW: (u64, u64) = (4, 128);

/// How many ordinary messages in a row end reading one by one: the fewest and the most.
const IN_A_ROW: (u64, u64) = (64, 4096);

/// A consumer that delivered fewer messages than this for each of those was not worth the return to it.
const WORTH: u64 = 16;

/// How long the end of the stream is watched, where such messages come again and again, and how often.
const WATCH: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(50);

/// What is known of the place at which reading last stopped.
#[derive(Debug, Default)]
pub(super) struct Broken {
    /// Whether what comes next may be the reason.
    pub(super) suspected: bool,
    /// How often consumers ended here.
    pub(super) times: u32,
}

impl Broken {
    pub(super) fn stopped(&mut self, again: &Again, moved: bool) {
        if moved {
            *self = Broken::default();
        }
        if !matches!(again, Again::Failed(_)) {
            self.suspected = true;
            self.times = self.times.saturating_add(1);
        }
    }
}

/// When to go back to a consumer.
#[derive(Debug)]
pub(super) struct Caution {
    in_a_row: u64,
    /// What consumers have delivered since the last time.
    delivered: u64,
}

impl Default for Caution {
    fn default() -> Self {
        Caution { in_a_row: IN_A_ROW.0, delivered: u64::MAX }
    }
}

impl Caution {
    pub(super) fn delivered(&mut self, events: usize) {
        self.delivered = self.delivered.saturating_add(events as u64);
    }

    /// Reading one by one begins.
    fn begin(&mut self) {
        let soon = self.delivered < WORTH * self.in_a_row;
        let next = if soon { self.in_a_row * 2 } else { self.in_a_row / 2 };
        self.in_a_row = next.clamp(IN_A_ROW.0, IN_A_ROW.1);
        self.delivered = 0;
    }

    fn is_raised(&self) -> bool {
        self.in_a_row > IN_A_ROW.0
    }
}

impl Reader {
    /// Reads past messages that a consumer cannot deliver, if one comes next. `insist`: whatever comes next, consumers
    /// have broken off in front of it more than once.
    pub(super) async fn pass(&mut self, insist: bool) -> Result<(), Stop> {
        let Some(first) = self.find().await? else { return Ok(()) };
        if first.is_plain() && !insist {
            return Ok(());
        }
        let sequence = first.sequence;
        tracing::warn!(
            cursor = self.plan.name,
            sequence,
            "reading message by message past what a consumer cannot deliver"
        );
        self.caution.begin();
        let mut found = Some(first);
        let (mut in_a_row, mut window) = (0_u64, WINDOW.0);
        let mut end = None;
        loop {
            let Some(first) = found.take() else {
                let since = *end.get_or_insert_with(Instant::now);
                if !self.caution.is_raised() || since.elapsed() > WATCH {
                    return Ok(());
                }
                self.rest().await?;
                found = self.find().await?;
                continue;
            };
            end = None;
            in_a_row = self.hand_on_window(first, &mut window, in_a_row).await?;
            if in_a_row >= self.caution.in_a_row {
                return Ok(());
            }
            found = self.find().await?;
        }
    }

    /// Reads one by one until `made` ends, which is what a consumer waits for: events need not.
    pub(super) async fn read_until<T>(&mut self, made: impl Future<Output = T>) -> Result<T, Stop> {
        let mut made = std::pin::pin!(made);
        let mut window = WINDOW.0;
        loop {
            // Both arms are cancel-safe: a question is only not waited for, and `made` is borrowed.
            let found = tokio::select! {
                made = &mut made => return Ok(made),
                found = self.find() => found,
            };
            let read = match found {
                Ok(Some(first)) => self.hand_on_window(first, &mut window, 0).await.map(|_| true),
                Ok(None) => Ok(false),
                Err(stop) => Err(stop),
            };
            match read {
                Ok(true) => {}
                // Whoever answers nothing now may be there in a moment.
                Ok(false) | Err(Stop::Again(_) | Stop::Silent(_)) => tokio::select! {
                    made = &mut made => return Ok(made),
                    rested = self.rest() => rested?,
                },
                Err(stop) => return Err(stop),
            }
        }
    }

    /// Reads a window that begins with `first`, hands it on, and sizes the next one. How many ordinary messages are in a
    /// row at its end, if there were that many before.
    async fn hand_on_window(
        &mut self,
        first: RawStored,
        window: &mut u64,
        mut in_a_row: u64,
    ) -> Result<u64, Stop> {
        let (read, next, pending) = self.window(first, *window).await?;
        for raw in &read {
            in_a_row = if raw.is_plain() { in_a_row + 1 } else { 0 };
        }
        let bytes: usize = read.iter().map(|raw| raw.payload.len()).sum();
        let dense = read.len() as u64 * 4 > *window && bytes < PULL_BYTES;
        *window = if dense { *window * 2 } else { *window / 2 }.clamp(WINDOW.0, WINDOW.1);
        let (markers, read): (Vec<_>, Vec<_>) = read.into_iter().partition(RawStored::is_marker);
        let markers = markers.into_iter().map(|raw| (raw.sequence, raw.subject.into())).collect();
        let events = read.into_iter().map(|raw| self.event(raw)).collect();
        self.hand_on(CursorEvents { events, markers, next, pending }).await?;
        Ok(in_a_row)
    }

    async fn rest(&self) -> Result<(), Stop> {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => Ok(()),
            () = self.sender.closed() => Err(Stop::Unwanted),
        }
    }

    /// The next message that a consumer would deliver.
    async fn find(&self) -> Result<Option<RawStored>, Stop> {
        Ok(self.broker.raw_next(&self.plan.stream, &self.read_filter, self.next).await?)
    }

    /// A message and those among the next `window` that follow it without a hole and that a consumer would deliver; the
    /// sequence behind all these, and how many there may be from there on: counting would cost a consumer.
    ///
    /// That a message is missing is not believed: a server that has just been elected, or was frozen and believes to lead
    /// still, does not have all of them at hand. What follows a hole is [found](Self::find), which shows that the hole is one.
    async fn window(&mut self, first: RawStored, window: u64) -> Result<(Vec<RawStored>, u64, u64), Stop> {
        let last = self.check_stream().await?.last.max(first.sequence);
        let until = first.sequence.saturating_add(window).min(last);
        let filter: Option<Pattern> = self.read_filter.parse().ok();
        let (broker, stream) = (&self.broker, &self.plan.stream);
        let behind =
            stream::iter(first.sequence + 1..=until).map(|n| broker.raw_at(stream, n)).buffered(PARALLEL);
        let behind: Vec<Option<RawStored>> =
            behind.try_collect().await.map_err(|error: Error| Stop::from(error))?;
        let behind: Vec<RawStored> = behind.into_iter().map_while(|raw| raw).collect();
        let next = behind.last().unwrap_or(&first).sequence + 1;
        let wanted = |raw: &RawStored| filter.as_ref().is_none_or(|filter| filter.matches(&raw.subject));
        let read = std::iter::once(first).chain(behind.into_iter().filter(wanted)).collect();
        Ok((read, next, (last + 1).saturating_sub(next)))
    }

    fn event(&self, raw: RawStored) -> Event {
        Stored::from(raw).into_event(&self.plan.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_often_consumers_fail_the_longer_it_takes_to_trust_them_again() {
        let mut caution = Caution::default();
        caution.begin();
        assert!(!caution.is_raised());
        for _ in 0..10 {
            caution.delivered(100);
            caution.begin();
        }
        assert_eq!(caution.in_a_row, IN_A_ROW.1);
        for _ in 0..10 {
            caution.delivered(1_000_000);
            caution.begin();
        }
        assert!(!caution.is_raised());
    }
}
