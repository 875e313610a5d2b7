//! Where the stream of a cursor ends, and whether it is the stream that it was.

use std::time::{Duration, Instant};

use super::{Again, Reader, Stop};
use crate::StreamState;

/// In a cluster, a server that was frozen believes for so long at the most that it still leads, and tells of an end that the
/// stream had.
const DEPOSED: Duration = Duration::from_secs(10);

impl Reader {
    /// What is known of the stream, which must be the one that is read.
    pub(super) async fn check_stream(&mut self) -> Result<StreamState, Stop> {
        let state = self.broker.stream_state(&self.plan.stream).await?;
        if state.created != self.plan.created {
            return Err(Stop::Lost(format!(
                "stream `{}` was recreated: its sequences mean other events now",
                self.plan.stream
            )));
        }
        if state.last + 1 >= self.next {
            self.short_since = None;
            return Ok(state);
        }
        let reason = format!(
            "stream `{}` ends at {}, but events up to {} have been read: its end was lost",
            self.plan.stream,
            state.last,
            self.next - 1
        );
        let since = *self.short_since.get_or_insert_with(Instant::now);
        match state.leader.is_none() || since.elapsed() > DEPOSED {
            true => Err(Stop::Lost(reason)),
            false => Err(Stop::Again(Again::Failed(reason))),
        }
    }
}
