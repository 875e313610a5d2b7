//! The checkpoints of all shards, as the stream has them.

use futures::{StreamExt, TryStreamExt};

use super::{Error, PARALLEL};
use heddle_broker::Broker;
use heddle_values::checkpoint::Checkpoint;
use heddle_values::names::Names;
use heddle_values::settings::Settings;

/// Reads them, with their sequences; 0: there is none, for none of the shards.
pub(super) async fn checkpoints(
    broker: &Broker,
    settings: &Settings,
    names: &Names,
) -> Result<Vec<(u64, Checkpoint)>, Error> {
    let found = read(broker, settings, names).await?;
    if missing(&found).is_empty() {
        return Ok(found);
    }
    // The first host of an application may have written them all in between.
    let found = read(broker, settings, names).await?;
    match missing(&found) {
        missing if missing.is_empty() => Ok(found),
        missing => Err(Error::Incomplete { missing }),
    }
}

/// Shards without a checkpoint, where others have one: a host writes all of them at once.
fn missing(found: &[(u64, Checkpoint)]) -> Vec<u16> {
    let missing: Vec<u16> =
        (0..).zip(found).filter(|(_, (sequence, _))| *sequence == 0).map(|(shard, _)| shard).collect();
    if missing.len() == found.len() { Vec::new() } else { missing }
}

async fn read(broker: &Broker, settings: &Settings, names: &Names) -> Result<Vec<(u64, Checkpoint)>, Error> {
    let stream = &settings.stream.name;
    let read = |shard: u16| async move {
        let Some(message) = broker.last(stream, &names.checkpoint(shard)).await? else {
            return Ok((0, Checkpoint::default()));
        };
        let checkpoint =
            Checkpoint::decode(&message.payload).map_err(|cause| Error::Checkpoint { shard, cause })?;
        let wanted = settings.shards.get();
        if checkpoint.shards != wanted {
            return Err(Error::Shards { wanted, found: checkpoint.shards });
        }
        Ok((message.sequence, checkpoint))
    };
    futures::stream::iter(0..settings.shards.get()).map(read).buffered(PARALLEL).try_collect().await
}
