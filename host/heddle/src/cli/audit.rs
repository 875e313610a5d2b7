//! Audit: a line in the stream for everything that an operator does.

use serde_json::Value;

use heddle_broker::Broker;
use heddle_flow::versions;
use heddle_values::names::Names;
use heddle_values::settings::Settings;

/// Says what is done, by whom and to what, on `_heddle.<app>.audit`. It is kept for ever.
pub(super) async fn audit(
    broker: &Broker,
    settings: &Settings,
    operation: &str,
    details: Value,
) -> anyhow::Result<()> {
    Ok(versions::audit(broker, &Names::new(&settings.app), operation, &who(), details).await?)
}

#[expect(clippy::disallowed_methods, reason = "who runs a command stands in the environment")]
fn who() -> String {
    let user =
        std::env::var("USER").unwrap_or_else(|_| format!("uid {}", rustix::process::geteuid().as_raw()));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user}@{}", host.trim())
}
