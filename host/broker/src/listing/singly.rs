//! What a list reads by itself, from the stream's leader rather than from its consumer: its last message, and the way past
//! one that a consumer cannot deliver.

use bytes::Bytes;

use super::{Begin, Break, List};
use crate::{Part, Stored};

impl List {
    /// The last message under the filter, as the stream's leader has it; 0: there is none.
    pub(super) async fn last_on_leader(&self) -> Result<u64, Break> {
        if let Some(filter) = &self.wanted.filter
            && let Ok(last) = self.broker.last(&self.wanted.stream, filter).await
        {
            return Ok(last.map_or(0, |last| last.sequence));
        }
        // One behind it does as well.
        Ok(self.broker.stream_state(&self.wanted.stream).await?.last)
    }

    /// The next message, read by its place through the server's API rather than from a consumer. This is where a list
    /// gets past a message that the client cannot read: it breaks the connection, and does so whenever it is delivered.
    pub(super) async fn read_singly(&mut self) -> Option<Stored> {
        let until = self.until?;
        let start = match self.wanted.begin {
            Begin::At(start) => start.max(self.last + 1),
            Begin::LastOfEach => return None,
        };
        let filter = self.wanted.filter.as_deref().unwrap_or(">");
        // That this cannot be read either is no news: the list has its own bound.
        let row = self.broker.next_of(&self.wanted.stream, filter, start).await.ok()?;
        let Some(row) = row.filter(|row| row.sequence <= until) else {
            self.ended = true;
            return None;
        };
        Some(match self.wanted.part {
            Part::Whole => row,
            Part::Headers => Stored { payload: Bytes::new(), ..row },
        })
    }
}
