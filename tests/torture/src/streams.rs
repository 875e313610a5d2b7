//! The streams of campaigns in which numbered events flow through the guest `echo`, and their server.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use async_nats::jetstream::{self, stream};
use heddle_tests::Server;

/// The stream of the events.
pub(crate) const INPUT: &str = "IN";

/// The application's stream.
pub(crate) const OUTPUT: &str = "T";

/// Now, in nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A server whose data lies on disk, or in memory.
pub(crate) async fn server(disk: bool) -> Result<Server> {
    Ok(match disk {
        true => Server::start_in(tempfile::tempdir().context("no folder for the server")?).await,
        false => Server::start().await,
    })
}

/// Makes the stream of the events, which keeps them for so long.
pub(crate) async fn make_input(jetstream: &jetstream::Context, max_age: Duration) -> Result<()> {
    let subjects = vec!["in.>".into()];
    let config = stream::Config { name: INPUT.into(), subjects, max_age, ..Default::default() };
    jetstream.create_stream(config).await.map(drop).context("the stream of the events is not made")
}
