//! Compaction: keeps of many subjects the last message, and removes the older ones at once.
//!
//! The server removes what lies below a sequence by walking over the messages once, whatever their subjects. It also
//! can remove the older messages of one subject, but walks over everything in between to find them: with many
//! subjects that costs as much for each message that goes.

use futures::TryStreamExt;

use super::listing::{Begin, List, PAGE, Wanted};
use super::{Broker, Error, Part, Stored};

/// Messages that are moved at once.
const MOVING: usize = 64;

/// What was found under a filter, and what was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// How many messages there were.
    pub before: u64,
    /// How many subjects there are.
    pub subjects: u64,
    /// How many messages were written again.
    pub messages: u64,
}

impl Broker {
    /// Writes every message again that is the last one of its subject under `filter`, lies below `boundary`, and is
    /// wanted. Afterwards nothing below that boundary is a last message that is wanted. After an error nobody knows that.
    ///
    /// Each is written only if it still is the last one, so that nobody's newer message is covered.
    pub async fn carry(
        &self,
        stream: &str,
        filter: &str,
        boundary: u64,
        wanted: impl Fn(&Stored) -> bool,
    ) -> Result<Carried, Error> {
        let before = self.count_from(stream, &[filter], 1).await?.pending;
        let mut list = self.list(Wanted {
            stream: stream.to_owned(),
            filter: Some(filter.to_owned()),
            begin: Begin::LastOfEach,
            part: Part::Whole,
            page: PAGE,
        });
        let subjects = list.announced().await?;
        let messages = if boundary > 0 { self.carry_from(&mut list, boundary, wanted).await } else { Ok(0) };
        list.dismiss().await;
        Ok(Carried { before, subjects, messages: messages? })
    }

    async fn carry_from(
        &self,
        list: &mut List,
        boundary: u64,
        wanted: impl Fn(&Stored) -> bool,
    ) -> Result<u64, Error> {
        // In the order of their sequences: those below the boundary come first.
        let old = list
            .rows()
            .try_take_while(|stored| std::future::ready(Ok(stored.sequence < boundary)))
            .try_filter(|stored| std::future::ready(wanted(stored)));
        let moved = old.map_ok(|stored| self.write_again(stored)).try_buffer_unordered(MOVING);
        moved.try_fold(0, |count, ()| std::future::ready(Ok(count + 1))).await
    }

    async fn write_again(&self, stored: Stored) -> Result<(), Error> {
        let Stored { subject, headers, payload, sequence, .. } = stored;
        // None: it was written since, and the message that is the last one now comes in the list as well.
        let written = self.send_kept(&subject, &headers, payload, Some(sequence)).await?.await;
        written.map(drop)
    }

    /// Removes all messages under `filter` below a sequence. How many there were.
    pub async fn purge_below(&self, stream: &str, filter: &str, sequence: u64) -> Result<u64, Error> {
        let what = || format!("purge `{filter}` below {sequence}");
        let handle = self.jetstream.get_stream_no_info(stream).await;
        let handle = handle.map_err(|e| Error::asked(what(), &e))?;
        let purged = handle.purge().filter(filter).sequence(sequence).await;
        purged.map(|answer| answer.purged).map_err(|e| Error::asked(what(), &e))
    }
}
