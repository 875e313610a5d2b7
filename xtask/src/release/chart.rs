//! The Helm chart, as helm packs it, renders it and lints it.
//!
//! Knows nothing of clusters: what is rendered is compared with Kubernetes' own schemas.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, ensure};

use super::inputs::Inputs;
use super::linters::{Linters, YAML_RULES, find_no_fault};
use super::promise::{self, hold};
use super::{files, sums};
use crate::shell::{output, root, step};

const CHART: &str = "host/heddle/packaging/helm/heddle";

/// The oldest Kubernetes that the chart is for, and the newest that the schemas are there for.
const KUBERNETES: [&str; 2] = ["1.28", "1.37"];

/// What is rendered need not be pretty; a key that stands twice is a fault.
const RENDERED_RULES: &str =
    "{rules: {key-duplicates: enable, octal-values: {forbid-implicit-octal: false}}}";

/// What a mistake in the values is answered with.
const MISTAKES: [(&[&str], &str); 4] = [
    (&[], "the application is missing"),
    (&["replica=2"], "replica"),
    (&["probes.http.enabled=true"], "http"),
    (&["terminationGracePeriodSeconds=5"], "terminationGracePeriodSeconds"),
];

/// Packs it as `heddle-<version of the chart>.tgz`. What helm packs has the time of packing in it, so it is packed again.
pub(super) fn build(inputs: &Inputs, out: &Path) -> Result<Vec<PathBuf>> {
    let linters = Linters::find_or_install()?;
    pack(&linters, inputs, out).map(|file| vec![file])
}

fn pack(linters: &Linters, inputs: &Inputs, out: &Path) -> Result<PathBuf> {
    let folder = inputs.folder("chart")?;
    let mut package = linters.helm();
    package.args(["package", CHART, "--app-version", &inputs.version, "--destination"]).arg(&folder);
    let said = output(&mut package)?;
    let (_, packed) = said.trim().rsplit_once(' ').context("helm did not say what it packed")?;
    let name = Path::new(packed).file_name().context("helm packs into a file")?;
    let unpacked = folder.join("unpacked");
    files::unpack(&folder.join(name), &unpacked)?;
    let file = out.join(name);
    files::tarball(&file, &files::read(&unpacked, "")?, inputs.epoch, inputs.effort)?;
    output(linters.helm().args(["show", "chart"]).arg(&file)).context("helm cannot read the packed chart")?;
    Ok(file)
}

/// Packs it twice, and renders it in every way that the folder `ci` has values for.
pub(super) fn verify(inputs: &Inputs, linters: &Linters) -> Result<()> {
    step("chart");
    promise::all([
        hold(
            "chart: packed twice, it has the same bytes and the time of the release, and helm reads it",
            || reproduced(linters, inputs),
        ),
        hold("chart: helm lints and renders it, and Kubernetes would accept that", || {
            accepted(linters, &inputs.folder("chart-rendered")?)
        }),
        hold("chart: a mistake in the values is named, and nothing is installed", || {
            MISTAKES.iter().try_for_each(|(settings, complaint)| refused(linters, settings, complaint))
        }),
    ])
}

fn reproduced(linters: &Linters, inputs: &Inputs) -> Result<()> {
    let [one, other] = ["chart-one", "chart-other"].map(|name| inputs.folder(name));
    let (folder, other) = (one?, pack(linters, inputs, &other?)?);
    let one = pack(linters, inputs, &folder)?;
    ensure!(sums::of(&one)? == sums::of(&other)?, "it has other bytes");
    files::unpack(&one, &folder)?;
    let facts = fs::metadata(folder.join("heddle/Chart.yaml")).context("it has no Chart.yaml")?;
    let time = facts.modified()?.duration_since(UNIX_EPOCH)?.as_secs();
    ensure!(time == inputs.epoch, "its files are of {time}, not of {}", inputs.epoch);
    Ok(())
}

/// Renders it in every way, and sees that the schemas of Kubernetes have no fault to find.
fn accepted(linters: &Linters, folder: &Path) -> Result<()> {
    let values = values()?;
    let mut rendered = Vec::new();
    for file in &values {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let mut lint = linters.helm();
        lint.args(["lint", "--strict", CHART, "--values"]).arg(file);
        find_no_fault(&mut lint, &format!("the chart with {name}"))?;
        let mut template = linters.helm();
        template.args(["template", "shop", CHART, "--namespace", "shop", "--values"]).arg(file);
        let manifest = folder.join(format!("{name}.yaml"));
        fs::write(&manifest, output(&mut template)?).with_context(|| format!("failed to write {name}"))?;
        rendered.push(manifest);
    }
    for version in KUBERNETES {
        let mut validate = linters.program("kubernetes-validate")?;
        validate.args(["--strict", "--kubernetes-version", version]).args(&rendered);
        find_no_fault(&mut validate, &format!("what the chart renders, for Kubernetes {version}"))?;
    }
    for (rules, files) in [(RENDERED_RULES, rendered.as_slice()), (YAML_RULES, &own_yaml())] {
        let mut yamllint = linters.program("yamllint")?;
        yamllint.args(["--strict", "--config-data", rules]).args(files);
        find_no_fault(&mut yamllint, "the YAML of the chart")?;
    }
    Ok(())
}

/// The sets of values to render it with.
fn values() -> Result<Vec<PathBuf>> {
    let folder = root().join(CHART).join("ci");
    let entries = fs::read_dir(&folder).with_context(|| format!("failed to list `{}`", folder.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    ensure!(!files.is_empty(), "there are no values in `{}`", folder.display());
    Ok(files)
}

/// What of the chart is plain YAML.
fn own_yaml() -> [PathBuf; 3] {
    ["Chart.yaml", "values.yaml", "values-nats.yaml"].map(|name| root().join(CHART).join(name))
}

/// Sees that the chart is not rendered with some settings, for the right reason.
fn refused(linters: &Linters, settings: &[&str], complaint: &str) -> Result<()> {
    let mut template = linters.helm();
    template.args(["template", "shop", CHART]);
    for setting in settings {
        template.args(["--set-string", "config.heddleToml=app", "--set", setting]);
    }
    let rendered = template.output().context("failed to start helm")?;
    let said = String::from_utf8_lossy(&rendered.stderr);
    ensure!(
        !rendered.status.success() && said.contains(complaint),
        "helm should refuse {settings:?} with a word on `{complaint}`, and said: {}",
        said.trim()
    );
    Ok(())
}
