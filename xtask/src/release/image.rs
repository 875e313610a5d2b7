//! The container image: made without a daemon, as a file that docker, podman and skopeo load, and looked at by running it.

mod container;
mod debian;
mod files;
mod layout;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::inputs::Inputs;
use super::linters::Linters;
use super::promise::{hold, skip};
use super::server::Server;
use crate::shell::{output, step};
use debian::Debian;
use layout::Layout;

/// Makes `heddle-<version>-image.tar`, with Debian's latest packages.
pub(super) fn build(inputs: &Inputs, out: &Path) -> Result<Vec<PathBuf>> {
    let debian = Debian::find_or_install()?;
    let debian = debian.context("the image is made of Debian's packages: leave it out with --only")?;
    debian::renew_packages()?;
    let image = layout::build(&debian, inputs, &inputs.folder("image")?)?;
    let file = out.join(format!("heddle-{}-image.tar", inputs.version));
    image.archive(&file)?;
    Ok(vec![file])
}

/// Sees that everything holds that docs/containers.md says of the files beside the image.
pub(super) fn verify_files(inputs: &Inputs, linters: &Linters, nats_server: &Path) -> Result<()> {
    step("files beside the image");
    files::verify(linters, &inputs.binary, nats_server, &inputs.folder("compose")?)
}

/// Sees that everything holds that docs/containers.md says of the image.
pub(super) fn verify(inputs: &Inputs, nats_server: &Path) -> Result<()> {
    step("container image");
    let Some(debian) = Debian::find_or_install()? else {
        skip("image", "it is made of Debian's packages, and there is no apt-get here");
        return Ok(());
    };
    let folder = inputs.folder("image")?;
    let image = layout::build(&debian, inputs, &folder.join("one"))?;
    let [file, other] = ["one.tar", "other.tar"].map(|name| folder.join(name));
    image.archive(&file)?;
    hold("image: made twice, it has the same bytes", || {
        let again = layout::build(&debian, inputs, &folder.join("other"))?;
        again.archive(&other)?;
        let read = |path: &Path| fs::read(path).context("failed to read the image");
        ensure!(read(&file)? == read(&other)?, "it has other bytes when it is made again");
        Ok(())
    })?;
    hold(
        "image: skopeo reads its file as an image of OCI and of Docker, of the time of the release",
        || {
            for kind in ["oci-archive", "docker-archive"] {
                readable(&debian, &format!("{kind}:{}", file.display()), inputs)?;
            }
            Ok(())
        },
    )?;
    hold("image: it keeps its digest in a registry", || travel(&debian, &image, &file, &folder))?;
    trial::run(&debian, &image, inputs, nats_server, &folder)
}

fn readable(debian: &Debian, name: &str, inputs: &Inputs) -> Result<()> {
    let said = output(debian.program("skopeo").args(["inspect", "--config", name]))
        .with_context(|| format!("skopeo cannot read `{name}`"))?;
    let config: Value = serde_json::from_str(&said).context("skopeo writes no JSON")?;
    let (created, time) = (config.get("created").and_then(Value::as_str), inputs.timestamp()?);
    ensure!(created == Some(&time), "it says that it was made at {created:?}, not at {time}");
    Ok(())
}

/// Puts the image into a registry, and sees that it is the same there.
fn travel(debian: &Debian, image: &Layout, file: &Path, folder: &Path) -> Result<()> {
    let registry = Server::registry(debian.program("docker-registry"), folder)?;
    let name = format!("docker://{}/team/heddle:{}", registry.address, image.version);
    let mut copy = debian.program("skopeo");
    copy.args(["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", "--preserve-digests"]);
    output(copy.arg(format!("oci-archive:{}", file.display())).arg(&name))?;
    let mut inspect = debian.program("skopeo");
    inspect.args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &name]);
    let digest = output(&mut inspect)?;
    ensure!(digest.trim() == image.digest()?, "in a registry the image has another digest: {digest}");
    Ok(())
}
