//! The container image: made without a daemon, as a file that docker, podman and skopeo load, and looked at by running it.

mod container;
mod debian;
mod files;
mod layout;
mod trial;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::inputs::Inputs;
use super::linters::Linters;
use super::server::Server;
use super::tools_folder;
use crate::shell::{empty, output, step};
use debian::Debian;
use layout::Layout;

/// Makes `heddle-<version>-image.tar`, with Debian's latest packages.
pub(super) fn build(inputs: &Inputs, out: &Path) -> Result<Vec<PathBuf>> {
    let debian = Debian::find_or_install()?;
    let debian = debian.context("the image is made of Debian's packages: leave it out with --only")?;
    debian::renew_packages()?;
    let image = layout::build(&debian, &inputs.binary, &inputs.version, &tools_folder().join("image"))?;
    let file = out.join(format!("heddle-{}-image.tar", inputs.version));
    image.archive(&file)?;
    Ok(vec![file])
}

/// Sees that everything holds that docs/containers.md says of the compose file and the chart.
pub(crate) fn verify_files(binary: &Path, nats_server: &Path) -> Result<()> {
    step("packaged files");
    let folder = tools_folder();
    let linters = Linters::find_or_install()?;
    let files = files::verify(&linters, binary, nats_server, &folder.join("compose"));
    files.and(super::chart::verify(&linters, &folder.join("chart")))
}

/// Sees that everything holds that docs/containers.md says of the image.
pub(crate) fn verify(binary: &Path, nats_server: &Path) -> Result<()> {
    step("container image");
    let folder = tools_folder();
    let Some(debian) = Debian::find_or_install()? else {
        eprintln!("skipped: an image is made from Debian's packages, and there is no apt-get here");
        return Ok(());
    };
    let version = env!("CARGO_PKG_VERSION");
    let image = layout::build(&debian, binary, version, &folder.join("image"))?;
    let again = layout::build(&debian, binary, version, &folder.join("again"))?;
    ensure!(image.digest()? == again.digest()?, "the image is another one when it is made again");
    promise(&format!("made twice it is the same: {}", image.digest()?));
    let file = folder.join("image.tar");
    image.archive(&file)?;
    for kind in ["oci-archive", "docker-archive"] {
        let name = format!("{kind}:{}", file.display());
        output(debian.program("skopeo").args(["inspect", "--config", &name]))
            .with_context(|| format!("skopeo cannot read the image as {kind}"))?;
    }
    promise("skopeo reads its file as an image of OCI and of Docker");
    travel(&debian, &image, &file, &folder.join("registry"))?;
    trial::run(&debian, &image, binary, nats_server, &folder.join("trial"))
}

/// Puts the image into a registry, and sees that it is the same there.
fn travel(debian: &Debian, image: &Layout, file: &Path, folder: &Path) -> Result<()> {
    empty(folder)?;
    let registry = Server::registry(debian.program("docker-registry"), folder)?;
    let name = format!("docker://{}/team/heddle:{}", registry.address, image.version);
    let mut copy = debian.program("skopeo");
    copy.args(["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", "--preserve-digests"]);
    output(copy.arg(format!("oci-archive:{}", file.display())).arg(&name))?;
    let mut inspect = debian.program("skopeo");
    inspect.args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &name]);
    let digest = output(&mut inspect)?;
    ensure!(digest.trim() == image.digest()?, "in a registry the image has another digest: {digest}");
    promise("it keeps its digest in a registry");
    Ok(())
}

/// Says that something was seen to hold.
pub(super) fn promise(what: &str) {
    println!("ok    {what}");
}
