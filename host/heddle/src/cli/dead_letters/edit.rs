//! Editing a payload in the user's editor.

use std::io::Write;
use std::process::Command;

use anyhow::{Context, bail};
use bytes::Bytes;

/// The payload after the user has edited it; none if it is as it was.
pub(super) fn edit(payload: &[u8]) -> anyhow::Result<Option<Bytes>> {
    let mut file =
        tempfile::Builder::new().prefix("heddle-payload-").tempfile().context("no temporary file")?;
    file.write_all(payload).context("failed to write the payload into a temporary file")?;
    file.flush().context("failed to write the payload into a temporary file")?;
    let editor = editor();
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program).args(words).arg(file.path()).status();
    let status = status.with_context(|| format!("failed to start the editor `{editor}`"))?;
    if !status.success() {
        bail!("the editor `{editor}` ended with {status}: nothing was replayed");
    }
    let edited = std::fs::read(file.path()).context("failed to read the payload back")?;
    Ok((edited != payload).then(|| edited.into()))
}

#[expect(clippy::disallowed_methods, reason = "which editor a user likes stands in the environment")]
fn editor() -> String {
    let set = |name| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
    set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned())
}
