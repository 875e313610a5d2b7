//! The SDKs whose languages have no packer: the module of Go, laid out as a module proxy serves it, and the archive for C, which holds
//! what `heddle new` writes.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use super::{Packing, stage};
use crate::release::files::{self, File};
use crate::release::inputs::Inputs;
use crate::shell::{command, output};

/// The path under which a proxy serves the module. Handlers import `heddle`, which no proxy can serve, for it has no dot:
/// a project's go.mod replaces one by the other.
pub(super) const GO_MODULE: &str = "heddle.internal/go";

/// The folder in the archive that is the proxy.
pub(super) const GO_PROXY: &str = "goproxy";

/// Packs the module of Go: an archive with the files of a proxy.
pub(super) fn go(packing: &Packing<'_>) -> Result<PathBuf> {
    let Inputs { version, epoch, effort, .. } = packing.inputs;
    let folder = stage::stage("go")?;
    let top = format!("{GO_MODULE}@v{version}/");
    let module = files::read(folder.path(), &top)?;
    let manifest = module.iter().find(|file| file.path == format!("{top}go.mod"));
    let manifest = manifest.context("`sdk/go` has no go.mod")?.bytes.to_vec();
    let info = format!("{{\"Version\":\"v{version}\",\"Time\":\"{}\"}}", packing.inputs.timestamp()?);
    let below = format!("{GO_PROXY}/{GO_MODULE}/@v");
    let served = [
        File::plain(format!("{below}/list"), format!("v{version}\n").into_bytes()),
        File::plain(format!("{below}/v{version}.info"), info.into_bytes()),
        File::plain(format!("{below}/v{version}.mod"), manifest),
        File::plain(format!("{below}/v{version}.zip"), files::zip(Vec::new(), &module, *epoch, *effort)?),
    ];
    write(packing, "heddle-sdk-go", &served)
}

/// Packs the archive for C.
pub(super) fn c(packing: &Packing<'_>) -> Result<PathBuf> {
    let Inputs { version, binary, .. } = packing.inputs;
    let scratch = tempfile::tempdir().context("no folder for work")?;
    output(command(binary).args(["new", "handler", "--lang", "c"]).current_dir(scratch.path()))?;
    let top = format!("heddle-sdk-c-{version}/");
    let mut files = files::read(&scratch.path().join("handler/heddle-sdk"), &top)?;
    let header = format!("{top}sdk/c/include/heddle.h");
    ensure!(files.iter().any(|file| file.path == header), "`heddle new` has written no heddle.h");
    files.push(packing.inputs.document("LICENSE", &format!("{top}LICENSE"))?);
    let readme = packing.inputs.template("c/README.md", &[])?;
    files.push(File::plain(format!("{top}README.md"), readme.into_bytes()));
    files::sort(&mut files);
    write(packing, "heddle-sdk-c", &files)
}

fn write(packing: &Packing<'_>, name: &str, files: &[File<'_>]) -> Result<PathBuf> {
    let Inputs { version, epoch, effort, .. } = packing.inputs;
    let to = packing.out.join(format!("{name}-{version}.tar.gz"));
    files::tarball(&to, files, *epoch, *effort)?;
    Ok(to)
}
