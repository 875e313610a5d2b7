//! The SDKs whose languages have a packer of their own: cargo, npm, and a build frontend of Python. Each is trusted with the form of its
//! package; all of them are given the time of the files, or have a fixed time for that.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::{Packing, stage};
use crate::setup::pypi::Venv;
use crate::shell::{cargo, command, output, run, target};

/// The crate, by its name in the workspace.
const CRATE: &str = "heddle-sdk";

/// What packs for Python, from PyPI.
const PYTHON_PACKERS: [&str; 2] = ["build==1.6.1", "flit_core==4.2.0"];

/// Packs the crate, once cargo has built what is packed and would publish it.
pub(super) fn krate(packing: &Packing<'_>) -> Result<PathBuf> {
    // What is packed is what lies there; whether that is committed, a release looks after by itself.
    let of_crate = ["--package", CRATE, "--allow-dirty", "--quiet"];
    run(cargo(&["publish", "--dry-run"]).args(of_crate))?;
    // The same bytes, but in a place that cargo promises.
    run(cargo(&["package", "--no-verify"]).args(of_crate))?;
    let name = format!("{CRATE}-{}.crate", packing.inputs.version);
    let made = target().join("package").join(&name);
    let to = packing.out.join(name);
    fs::copy(&made, &to).with_context(|| format!("failed to copy `{}`", made.display()))?;
    Ok(to)
}

/// Packs the package of npm, once npm would publish it.
pub(super) fn npm(packing: &Packing<'_>) -> Result<PathBuf> {
    let folder = stage::stage("js")?;
    let path = packing.toolchains.path()?;
    let npm = |arguments: &[&str]| {
        let mut npm = command("npm");
        npm.args(["--loglevel", "error", "--ignore-scripts"])
            .args(arguments)
            .current_dir(folder.path())
            .env("PATH", &path);
        npm
    };
    output(&mut npm(&["publish", "--dry-run", "--access", "public"]))?;
    let name = output(npm(&["pack", "--pack-destination"]).arg(packing.out))?;
    made(packing.out, name.trim())
}

/// Packs the source distribution, and the wheel from that.
pub(super) fn python(packing: &Packing<'_>) -> Result<[PathBuf; 2]> {
    let packers = Venv::find_or_install(target().join("toolchains/packers"), &PYTHON_PACKERS)?;
    let folder = stage::stage("python")?;
    let mut build = command(packers.python());
    build.args(["-m", "build", "--no-isolation", "--outdir"]).arg(packing.out).arg(folder.path());
    output(build.env("SOURCE_DATE_EPOCH", packing.inputs.epoch.to_string()))?;
    let name = |end: &str| made(packing.out, &format!("heddle_sdk-{}{end}", packing.inputs.version));
    Ok([name("-py3-none-any.whl")?, name(".tar.gz")?])
}

/// A file that a packer says it has made.
fn made(out: &Path, name: &str) -> Result<PathBuf> {
    let file = out.join(name);
    ensure!(file.is_file(), "the packer has made no `{}`", file.display());
    Ok(file)
}
