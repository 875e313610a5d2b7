//! The image as an OCI image layout: three layers, for the system, the program and its documents, put together by umoci without a daemon.
//!
//! The same program, time and packages give the same bytes. Knows nothing of how an image is run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::debian::{self, Debian};
use crate::release::files;
use crate::release::inputs::Inputs;
use crate::shell::{command, output, root, run};

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
    /// The time in its files, in seconds since 1970.
    epoch: u64,
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
        files::tar(file, &files::read(&self.folder, "")?, self.epoch)
    }
}

/// Makes an image in a folder, which is made if it is not there.
pub(super) fn build(debian: &Debian, inputs: &Inputs, folder: &Path) -> Result<Layout> {
    fs::create_dir_all(folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
    let (system, added) = (folder.join("system"), folder.join("added"));
    let mut rootfs = command(root().join(ROOTFS));
    rootfs.arg(debian::packages()).arg(&system).args(debian::apt_options()?);
    run(rootfs.env("SOURCE_DATE_EPOCH", inputs.epoch.to_string()))?;
    let files = [
        inputs.program("heddle"),
        inputs.document("LICENSE", "documents/LICENSE")?,
        inputs.third_party_licenses("documents/THIRD-PARTY-LICENSES.txt"),
    ];
    files::lay(&added, &files)?;
    let date = format!("--date=@{}", inputs.epoch);
    run(command("find").arg(&added).args(["-exec", "touch", &date, "{}", "+"]))?;

    let layout =
        Layout { folder: folder.join("layout"), version: inputs.version.clone(), epoch: inputs.epoch };
    let parts = [
        (system, "/"),
        (added.join("heddle"), "/usr/bin/heddle"),
        (added.join("documents"), "/usr/share/doc/heddle"),
    ];
    assemble(debian, &layout, &parts, &inputs.timestamp()?)?;
    describe(&layout)?;
    Ok(layout)
}

/// Puts each part into a layer of its own, and sets what is said of the image.
fn assemble(debian: &Debian, layout: &Layout, parts: &[(PathBuf, &str)], created: &str) -> Result<()> {
    let tag = layout.tag();
    let umoci = || debian.program("umoci");
    output(umoci().args(["init", "--layout"]).arg(&layout.folder))?;
    output(umoci().args(["new", "--image", &tag]))?;
    let no_root = ["--rootless"].into_iter().filter(|_| !rustix::process::geteuid().is_root());
    for (from, to) in parts {
        let mut insert = umoci();
        insert.args(["insert", "--image", &tag, "--history.created", created]);
        insert.args(["--history.created_by", "xtask"]).args(no_root.clone());
        output(insert.arg(from).arg(to))?;
    }
    let mut config = umoci();
    config.args(["config", "--no-history", "--image", &tag, "--created", created]);
    config.args(SETTINGS.map(|(setting, _)| setting));
    config.args(labels_of(&layout.version).iter().map(|label| format!("--config.label={label}")));
    output(&mut config)?;
    output(umoci().args(["gc", "--layout"]).arg(&layout.folder)).map(drop)
}

/// The labels, as OCI's image specification names them.
fn labels_of(version: &str) -> [String; 5] {
    let revision =
        output(command("git").args(["rev-parse", "HEAD"])).unwrap_or_else(|_| "unknown".to_owned());
    let labels = [
        ("title", "heddle"),
        ("description", "Reads events from NATS JetStream and hands each to a sandboxed WebAssembly handler"),
        ("licenses", "Apache-2.0"),
        ("version", version),
        ("revision", revision.trim()),
    ];
    labels.map(|(name, text)| format!("org.opencontainers.image.{name}={text}"))
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

pub(super) fn read(file: &Path) -> Result<Value> {
    let text = fs::read(file).with_context(|| format!("failed to read `{}`", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("`{}` is not JSON", file.display()))
}

pub(super) fn write(file: &Path, value: &Value) -> Result<()> {
    fs::write(file, serde_json::to_vec(value)?)
        .with_context(|| format!("failed to write `{}`", file.display()))
}
