//! Reading a list's next message by itself: the way past a message that a consumer cannot deliver.
//!
//! The only place where a list reads otherwise than from its consumer.

use bytes::Bytes;

use super::{Begin, List};
use crate::broker::{Part, Stored};

impl List {
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
