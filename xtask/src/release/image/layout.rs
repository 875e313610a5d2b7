//! The image as an OCI image layout: two layers, the root and the program, put together by umoci without a daemon.
//!
//! The same program and the same packages give the same bytes. Knows nothing of how an image is run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::debian::{self, Debian};
use crate::release::{components, licenses};
use crate::shell::{command, empty, output, root, run};

/// Makes the root, from packages, in a folder that does not exist. The container file uses it as well.
const ROOTFS: &str = "host/heddle/packaging/container/rootfs.sh";

/// Who runs the program.
pub(super) const USER: u32 = 65_532;

/// Settings of the image, but for its labels: as umoci takes them, and the words of the container file for each.
pub(super) const SETTINGS: [(&str, &str); 8] = [
    ("--config.user=65532:65532", "USER 65532:65532"),
    ("--config.env=HEDDLE_CONFIG=/etc/heddle/heddle.toml", "HEDDLE_CONFIG=/etc/heddle/heddle.toml"),
    ("--config.env=HEDDLE_CACHE=/var/cache/heddle/artifacts", "HEDDLE_CACHE=/var/cache/heddle/artifacts"),
    ("--config.volume=/var/cache/heddle", "VOLUME [\"/var/cache/heddle\"]"),
    ("--config.workingdir=/etc/heddle", "WORKDIR /etc/heddle"),
    ("--config.stopsignal=SIGTERM", "STOPSIGNAL SIGTERM"),
    ("--config.entrypoint=/usr/bin/heddle", "ENTRYPOINT [\"/usr/bin/heddle\"]"),
    ("--config.cmd=run", "CMD [\"run\"]"),
];

/// An image on disk.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) folder: PathBuf,
    pub(super) version: String,
}

impl Layout {
    /// As umoci names it.
    pub(super) fn tag(&self) -> String {
        format!("{}:{}", self.folder.display(), self.version)
    }

    /// The digest of its manifest.
    pub(super) fn digest(&self) -> Result<String> {
        let index = read(&self.folder.join("index.json"))?;
        let digest = index.pointer("/manifests/0/digest").and_then(Value::as_str);
        Ok(digest.context("the index of the image names no manifest")?.to_owned())
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs").join(digest.replace(':', "/"))
    }

    /// Its manifest.
    pub(super) fn manifest(&self) -> Result<Value> {
        read(&self.blob(&self.digest()?))
    }

    /// One file with all of it, for docker, podman and skopeo.
    pub(super) fn archive(&self, file: &Path) -> Result<()> {
        let mut tar = command("tar");
        tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"]);
        tar.arg(format!("--mtime=@{}", epoch()?)).arg("--file").arg(file).arg("--create");
        run(tar.arg("--directory").arg(&self.folder).args([
            "blobs",
            "index.json",
            "manifest.json",
            "oci-layout",
        ]))
    }
}

/// Makes an image in a folder that is emptied first.
pub(super) fn build(debian: &Debian, binary: &Path, version: &str, folder: &Path) -> Result<Layout> {
    empty(folder)?;
    let epoch = epoch()?;
    let created = output(command("date").args(["--utc", "+%FT%TZ", "--date"]).arg(format!("@{epoch}")))?;
    let created = created.trim();
    let files = folder.join("root");
    let mut rootfs = command(root().join(ROOTFS));
    rootfs.arg(debian::packages()).arg(&files).args(debian::apt_options()?);
    run(rootfs.env("SOURCE_DATE_EPOCH", &epoch))?;
    let program = folder.join("heddle");
    // Names of functions stay, for backtraces; what a debugger needs would be four fifths of the image.
    run(command("strip").args(["--strip-debug", "-o"]).args([&program, binary]))?;
    run(command("touch").arg(format!("--date=@{epoch}")).arg(&program))?;
    let documents = folder.join("documents");
    fs::create_dir_all(&documents).context("failed to create the folder for documents")?;
    fs::copy(root().join("LICENSE"), documents.join("LICENSE")).context("failed to copy `LICENSE`")?;
    let of_others = licenses::text(&components::of_the_program()?)?;
    fs::write(documents.join("THIRD-PARTY-LICENSES.txt"), of_others).context("failed to write licenses")?;
    let all = ["LICENSE", "THIRD-PARTY-LICENSES.txt", "."].map(|name| documents.join(name));
    run(command("touch").arg(format!("--date=@{epoch}")).args(all))?;

    let layout = Layout { folder: folder.join("layout"), version: version.to_owned() };
    let umoci =
        |arguments: &[&str]| -> Result<()> { output(debian.program("umoci").args(arguments)).map(drop) };
    let tag = layout.tag();
    umoci(&["init", "--layout", &layout.folder.to_string_lossy()])?;
    umoci(&["new", "--image", &tag])?;
    let no_root = ["--rootless"].into_iter().filter(|_| !rustix::process::geteuid().is_root());
    let mut insert =
        vec!["insert", "--image", &tag, "--history.created", created, "--history.created_by", "xtask"];
    insert.extend(no_root);
    umoci(&[&insert, [&*files.to_string_lossy(), "/"].as_slice()].concat())?;
    umoci(&[&insert, [&*program.to_string_lossy(), "/usr/bin/heddle"].as_slice()].concat())?;
    umoci(&[&insert, [&*documents.to_string_lossy(), "/usr/share/doc/heddle"].as_slice()].concat())?;
    let settings = SETTINGS.map(|(setting, _)| setting);
    umoci(&[["config", "--image", &tag, "--no-history"].as_slice(), &settings].concat())?;
    let mut labels = debian.program("umoci");
    labels.args(["config", "--no-history", "--image", &tag, "--created", created]);
    run(labels.args(labels_of(version)?.iter().map(|label| format!("--config.label={label}"))))?;
    umoci(&["gc", "--layout", &layout.folder.to_string_lossy()])?;
    describe(&layout)?;
    Ok(layout)
}

/// The labels, as OCI's image specification names them.
fn labels_of(version: &str) -> Result<Vec<String>> {
    let revision =
        output(command("git").args(["rev-parse", "HEAD"])).unwrap_or_else(|_| "unknown".to_owned());
    let labels = [
        ("title", "heddle"),
        ("description", "Reads events from NATS JetStream and hands each to a sandboxed WebAssembly handler"),
        ("licenses", "Apache-2.0"),
        ("version", version),
        ("revision", revision.trim()),
    ];
    Ok(labels.map(|(name, text)| format!("org.opencontainers.image.{name}={text}")).into())
}

/// Names the image for `docker load`: for those that read OCI's index, and for those that only read Docker's own.
fn describe(layout: &Layout) -> Result<()> {
    let name = format!("heddle:{}", layout.version);
    let mut index = read(&layout.folder.join("index.json"))?;
    let entry = index.pointer_mut("/manifests/0/annotations").context("umoci has annotated its manifest")?;
    entry
        .as_object_mut()
        .context("annotations are an object")?
        .insert("io.containerd.image.name".to_owned(), json!(format!("docker.io/library/{name}")));
    write(&layout.folder.join("index.json"), &index)?;
    let manifest = layout.manifest()?;
    let file = |descriptor: &Value| {
        descriptor
            .get("digest")
            .and_then(Value::as_str)
            .map(|digest| format!("blobs/{}", digest.replace(':', "/")))
    };
    let layers = manifest.get("layers").and_then(Value::as_array).context("a manifest has layers")?;
    let layers: Vec<_> = layers.iter().filter_map(file).collect();
    let config = manifest.get("config").and_then(file);
    write(
        &layout.folder.join("manifest.json"),
        &json!([{ "Config": config, "RepoTags": [name], "Layers": layers }]),
    )
}

/// When everything in the image was made: what the environment says, else the time of the last commit.
fn epoch() -> Result<String> {
    if let Some(epoch) = std::env::var_os("SOURCE_DATE_EPOCH") {
        return epoch.into_string().ok().context("`SOURCE_DATE_EPOCH` is no number");
    }
    let epoch = output(command("git").args(["log", "-1", "--format=%ct"])).unwrap_or_else(|_| "0".to_owned());
    Ok(epoch.trim().to_owned())
}

pub(super) fn read(file: &Path) -> Result<Value> {
    let text = fs::read(file).with_context(|| format!("failed to read `{}`", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("`{}` is not JSON", file.display()))
}

pub(super) fn write(file: &Path, value: &Value) -> Result<()> {
    fs::write(file, serde_json::to_vec(value)?)
        .with_context(|| format!("failed to write `{}`", file.display()))
}
