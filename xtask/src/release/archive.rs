//! The archive for every Linux with glibc: `heddle-VERSION-x86_64-unknown-linux-gnu.tar.gz`, with one folder of that name in it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::files::{File, tarball};
use super::inputs::Inputs;
use super::platform::TRIPLE;

/// Builds it.
pub(super) fn build(inputs: &Inputs, out: &Path) -> Result<Vec<PathBuf>> {
    let folder = folder(inputs);
    let mut files = vec![
        inputs.program("heddle"),
        inputs.document("README.md", "README.md")?,
        inputs.document("LICENSE", "LICENSE")?,
        inputs.third_party_licenses("THIRD-PARTY-LICENSES.txt"),
        inputs.document("CHANGELOG.md", "CHANGELOG.md")?,
        inputs.unit("systemd/")?,
    ];
    files.extend(inputs.completions(|shell| match shell {
        "bash" => "completions/bash/",
        "zsh" => "completions/zsh/",
        _ => "completions/fish/",
    })?);
    files.extend(inputs.man_pages("man/man1/")?);
    let files: Vec<_> =
        files.into_iter().map(|file| File { path: format!("{folder}/{}", file.path), ..file }).collect();
    let to = out.join(format!("{folder}.tar.gz"));
    tarball(&to, &files, inputs.epoch, inputs.effort)?;
    Ok(vec![to])
}

/// The folder in the archive, after which it is named.
pub(super) fn folder(inputs: &Inputs) -> String {
    format!("heddle-{}-{TRIPLE}", inputs.version)
}
