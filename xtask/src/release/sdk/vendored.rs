//! The SDKs whose languages have no packer: the module of Go, laid out as a module proxy serves it, and the archive for C, which holds
//! what `heddle new` writes.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use super::archive::{self, Files};
use super::{Packing, stage};
use crate::shell::{command, output, root};

/// The path under which a proxy serves the module. Handlers import `heddle`, which no proxy can serve, for it has no dot:
/// a project's go.mod replaces one by the other.
pub(super) const GO_MODULE: &str = "heddle.internal/go";

/// The folder in the archive that is the proxy.
pub(super) const GO_PROXY: &str = "goproxy";

/// The readme of the archive for C.
const C_README: &str = include_str!("c.md");

/// Packs the module of Go: an archive with the files of a proxy.
pub(super) fn go(packing: &Packing<'_>) -> Result<PathBuf> {
    let folder = stage::stage("go")?;
    let version = format!("v{}", packing.version);
    let module = archive::read(folder.path(), &format!("{GO_MODULE}@{version}/"))?;
    let manifest = module.get(&format!("{GO_MODULE}@{version}/go.mod"));
    let manifest = manifest.context("`sdk/go` has no go.mod")?.clone();
    let info = format!("{{\"Version\":\"{version}\",\"Time\":\"{}\"}}", time(packing.epoch)?);
    let served = [
        ("list".to_owned(), format!("{version}\n").into_bytes()),
        (format!("{version}.info"), info.into_bytes()),
        (format!("{version}.mod"), manifest),
        (format!("{version}.zip"), archive::zip(&module)?),
    ];
    let below = format!("{GO_PROXY}/{GO_MODULE}/@v/");
    let files = served.into_iter().map(|(name, content)| (format!("{below}{name}"), content)).collect();
    write(packing, "heddle-sdk-go", &files)
}

/// Packs the archive for C.
pub(super) fn c(packing: &Packing<'_>) -> Result<PathBuf> {
    let scratch = tempfile::tempdir().context("no folder for work")?;
    let mut new = command(packing.binary);
    output(new.args(["new", "handler", "--lang", "c"]).current_dir(scratch.path()))?;
    let top = format!("heddle-sdk-c-{}/", packing.version);
    let mut files = archive::read(&scratch.path().join("handler/heddle-sdk"), &top)?;
    ensure!(
        files.contains_key(&format!("{top}sdk/c/include/heddle.h")),
        "`heddle new` has written no heddle.h"
    );
    let license = fs::read(root().join("LICENSE")).context("failed to read `LICENSE`")?;
    files.insert(format!("{top}LICENSE"), license);
    files.insert(format!("{top}README.md"), C_README.replace("{version}", packing.version).into_bytes());
    write(packing, "heddle-sdk-c", &files)
}

fn write(packing: &Packing<'_>, name: &str, files: &Files) -> Result<PathBuf> {
    let to = packing.out.join(format!("{name}-{}.tar.gz", packing.version));
    archive::tar_gz(&to, files, packing.epoch)?;
    Ok(to)
}

/// A time as RFC 3339 writes it.
fn time(epoch: u64) -> Result<String> {
    let text = output(command("date").args(["-u", "-d", &format!("@{epoch}"), "+%Y-%m-%dT%H:%M:%SZ"]))?;
    Ok(text.trim().to_owned())
}
