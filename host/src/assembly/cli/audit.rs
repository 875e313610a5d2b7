//! Audit: a line in the stream for everything that an operator does.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::values::dead_letter::rfc3339;
use crate::values::event::Headers;
use crate::values::names::Names;
use crate::values::settings::Settings;

/// Says what is done, by whom and to what, on `_heddle.<app>.audit`. It is kept for ever.
pub(super) async fn audit(
    broker: &Broker,
    settings: &Settings,
    operation: &str,
    details: Value,
) -> anyhow::Result<()> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let line = json!({
        "time": rfc3339(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)),
        "operation": operation,
        "by": who(),
        "details": details,
    });
    let subject = Names::new(&settings.app).audit();
    broker.publish_kept(&subject, &Headers::default(), line.to_string().into()).await?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "who runs a command stands in the environment")]
fn who() -> String {
    let user =
        std::env::var("USER").unwrap_or_else(|_| format!("uid {}", rustix::process::geteuid().as_raw()));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user}@{}", host.trim())
}
