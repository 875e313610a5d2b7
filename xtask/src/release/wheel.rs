//! The package for Python: `heddle_bin-VERSION-py3-none-manylinux_…_x86_64.whl`, which puts the program into `bin/` of an
//! environment. It holds no Python; the module `heddle` belongs to the SDK, `heddle-sdk`.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::files::{self, File};
use super::inputs::Inputs;
use super::sums;
use crate::shell::root;

/// The distribution, as file names spell it.
const NAME: &str = "heddle_bin";

/// Builds it.
pub(super) fn build(inputs: &Inputs, out: &Path) -> Result<Vec<PathBuf>> {
    let tag = format!("py3-none-{}", inputs.needs.glibc.manylinux());
    let folder = format!("{NAME}-{}", inputs.version);
    let info = |name: &str| format!("{folder}.dist-info/{name}");
    let readme = fs::read_to_string(root().join("README.md")).context("failed to read `README.md`")?;
    let metadata = inputs.template("wheel/METADATA", &[("readme", &readme)])?;
    let wheel = inputs.template("wheel/WHEEL", &[("tag", &tag)])?;
    let mut files = vec![
        inputs.program(&format!("{folder}.data/scripts/heddle")),
        inputs.document("LICENSE", &info("licenses/LICENSE"))?,
        inputs.third_party_licenses(&info("licenses/THIRD-PARTY-LICENSES.txt")),
        File::plain(info("sboms/heddle.cdx.json"), super::sbom::text(inputs)?.into_bytes()),
        File::plain(info("METADATA"), metadata.into_bytes()),
        File::plain(info("WHEEL"), wheel.into_bytes()),
    ];
    files.push(record(&files, info("RECORD")));
    let to = out.join(format!("{folder}-{tag}.whl"));
    let write = || {
        let file = BufWriter::new(fs::File::create(&to)?);
        files::zip(file, &files, inputs.epoch, inputs.effort)?.flush().context("the disk may be full")
    };
    write().with_context(|| format!("failed to write `{}`", to.display()))?;
    Ok(vec![to])
}

/// The list of all files with their digests, and itself without one.
fn record(files: &[File<'_>], path: String) -> File<'static> {
    let mut text = String::new();
    for file in files {
        let digest = sums::base64(&file.bytes);
        writeln!(text, "{},sha256={digest},{}", file.path, file.bytes.len())
            .expect("a string takes all text");
    }
    writeln!(text, "{path},,").expect("a string takes all text");
    File::plain(path, text.into_bytes())
}
