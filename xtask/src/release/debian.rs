//! The package for Debian and Ubuntu: `heddle_VERSION_amd64.deb`.
//!
//! Built by dpkg's own `dpkg-deb`, which checks the control file and compresses with all cores. cargo-deb would add minutes of
//! compilation for what is a list of files here. No maintainer scripts: the unit is a template, so there is nothing to enable
//! or start, and removing the package leaves nothing behind.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::files::Effort;
use super::files::{self, File};
use super::inputs::Inputs;
use crate::shell::{command, output, run};

/// Whom the package names as responsible: the authors in the manifest of the workspace.
const AUTHORS: &str = env!("CARGO_PKG_AUTHORS");

/// Debian wants an address. This is what it gets as long as the authors have none: one that says so, and that can never be
/// anybody's (RFC 2606).
const NO_ADDRESS: &str = "<no-address@heddle.invalid>";

/// Where documents go.
const DOCUMENTS: &str = "usr/share/doc/heddle";

/// Builds it.
pub(super) fn build(inputs: &Inputs, out: &Path) -> Result<Vec<PathBuf>> {
    let stage = inputs.folder("deb")?;
    let files = installed(inputs)?;
    files::lay(&stage, &files)?;
    files::lay(&stage, &control(inputs, &stage, &files)?)?;
    let to = out.join(format!("heddle_{}_amd64.deb", inputs.version));
    let mut dpkg = command("dpkg-deb");
    // Every Debian and Ubuntu of today reads xz.
    match inputs.effort {
        Effort::Thorough => dpkg.args(["-Zxz", "-z6"]),
        Effort::Quick => dpkg.args(["-Zgzip", "-z1"]),
    };
    dpkg.args(["--root-owner-group", "--build"]).arg(&stage).arg(&to);
    run(dpkg.env("SOURCE_DATE_EPOCH", inputs.epoch.to_string()).stdout(std::process::Stdio::null()))
        .context("`dpkg-deb` is needed (the package dpkg, which other distributions have, too)")?;
    Ok(vec![to])
}

/// The authors, with an address in any case.
fn maintainer() -> String {
    if AUTHORS.contains('<') { AUTHORS.to_owned() } else { format!("{AUTHORS} {NO_ADDRESS}") }
}

/// What is installed.
fn installed(inputs: &Inputs) -> Result<Vec<File<'_>>> {
    let text = |name: &str, values: &[(&str, &str)]| inputs.template(&format!("debian/{name}"), values);
    let changelog = text("changelog", &[("maintainer", &maintainer()), ("date", &inputs.date("-R")?)])?;
    let document = |name: &str| format!("{DOCUMENTS}/{name}");
    let mut files = vec![
        inputs.program("usr/bin/heddle"),
        // `/lib` is a link to `/usr/lib` on every system with such a glibc, and policy forbids to install through it.
        inputs.unit("usr/lib/systemd/system/")?,
        File::plain(document("copyright"), text("copyright", &[])?.into_bytes()),
        File::plain(document("changelog"), changelog.into_bytes()).gzipped()?,
        inputs.document("CHANGELOG.md", &document("CHANGELOG.md"))?.gzipped()?,
        inputs.document("README.md", &document("README.md"))?.gzipped()?,
        inputs.third_party_licenses(&document("third-party-licenses.txt")).gzipped()?,
        File::plain("usr/share/lintian/overrides/heddle", text("lintian-overrides", &[])?.into_bytes()),
    ];
    files.extend(inputs.completions(|shell| match shell {
        "bash" => "usr/share/bash-completion/completions/",
        "zsh" => "usr/share/zsh/vendor-completions/",
        _ => "usr/share/fish/vendor_completions.d/",
    })?);
    for page in inputs.man_pages("usr/share/man/man1/")? {
        files.push(page.gzipped()?);
    }
    Ok(files)
}

/// What dpkg wants to know.
fn control(inputs: &Inputs, stage: &Path, files: &[File<'_>]) -> Result<[File<'static>; 2]> {
    // In KiB, each file rounded up, as dpkg-gencontrol counts.
    let size: usize = files.iter().map(|file| file.bytes.len().div_ceil(1024)).sum();
    let (size, depends) = (size.to_string(), inputs.needs.debian());
    let maintainer = maintainer();
    let values = [("maintainer", maintainer.as_str()), ("size", &size), ("depends", &depends)];
    let control = inputs.template("debian/control", &values)?;
    let sums = output(command("md5sum").args(files.iter().map(|file| &file.path)).current_dir(stage))?;
    Ok([
        File::plain("DEBIAN/control", control.into_bytes()),
        File::plain("DEBIAN/md5sums", sums.into_bytes()),
    ])
}
