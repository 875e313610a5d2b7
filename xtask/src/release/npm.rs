//! The packages for npm, as esbuild has them: `@heddle/cli`, a launcher without dependencies, and a package for each platform
//! with the program, of which npm installs the one that fits. The SDK is `@heddle/sdk`, with another command.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::files::{File, tarball};
use super::inputs::Inputs;

/// Builds both.
pub(super) fn build(inputs: &Inputs, out: &Path) -> Result<Vec<PathBuf>> {
    let text = |name: &str, values: &[(&str, &str)]| -> Result<Vec<u8>> {
        Ok(inputs.template(&format!("npm/{name}"), values)?.into_bytes())
    };
    let glibc = inputs.needs.glibc.to_string();
    let main = vec![
        File::plain("package/package.json", text("package.json", &[])?),
        File::program("package/bin/heddle.js", text("heddle.js", &[])?),
        inputs.document("README.md", "package/README.md")?,
        inputs.document("LICENSE", "package/LICENSE")?,
    ];
    let platform = vec![
        File::plain("package/package.json", text("platform.json", &[])?),
        inputs.program("package/bin/heddle"),
        File::plain("package/README.md", text("platform.md", &[("glibc", &glibc)])?),
        inputs.document("LICENSE", "package/LICENSE")?,
        inputs.third_party_licenses("package/THIRD-PARTY-LICENSES.txt"),
    ];
    let mut built = Vec::new();
    for (name, files) in [("heddle-cli", main), ("heddle-cli-linux-x64-gnu", platform)] {
        let to = out.join(format!("{name}-{}.tgz", inputs.version));
        tarball(&to, &files, inputs.epoch, inputs.effort)?;
        built.push(to);
    }
    Ok(built)
}
