//! The files that are given away beside the image, as linters and schemas see them: container file, script, compose file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::layout::SETTINGS;
use crate::release::inputs::STRIP_OPTIONS;
use crate::release::linters::{Linters, YAML_RULES, find_no_fault};
use crate::release::promise::{self, hold};
use crate::shell::{command, output, root};

/// Everything that is packaged.
const PACKAGING: &str = "host/heddle/packaging";

const CONTAINERFILE: &str = "host/heddle/packaging/container/Containerfile";
const SCRIPT: &str = "host/heddle/packaging/container/rootfs.sh";
const CHART: &str = "host/heddle/packaging/helm/heddle/Chart.yaml";
const COMPOSE: &str = "host/heddle/packaging/compose";

/// Checks all of them.
pub(super) fn verify(linters: &Linters, binary: &Path, nats_server: &Path, folder: &Path) -> Result<()> {
    promise::all([
        hold("image: hadolint and shellcheck find no fault with what Docker makes it from", || {
            linted(linters)
        }),
        hold("image: the container file sets what the image here has", container),
        hold("compose: the file follows the specification", || specified(linters)),
        hold("compose: nats-server and heddle accept the files of the cluster", || {
            accepted(binary, nats_server, folder)
        }),
        hold("image, compose, chart: every HEDDLE_ variable is one that heddle reads", || variables(binary)),
        hold("image, compose, chart: each names this version", versions),
    ])
}

fn linted(linters: &Linters) -> Result<()> {
    let mut hadolint = linters.program("hadolint")?;
    find_no_fault(hadolint.arg("--failure-threshold=style").arg(CONTAINERFILE), "the container file")?;
    let mut shellcheck = linters.program("shellcheck")?;
    find_no_fault(shellcheck.arg(root().join(SCRIPT)), "the script that lays out the root")
}

fn container() -> Result<()> {
    let text = read(CONTAINERFILE)?;
    for words in SETTINGS.map(|(_, words)| words.to_owned()).into_iter().chain([STRIP_OPTIONS.join(" ")]) {
        ensure!(text.contains(&words), "`{CONTAINERFILE}` lacks `{words}`, which `xtask release` sets");
    }
    Ok(())
}

fn specified(linters: &Linters) -> Result<()> {
    let file = format!("{COMPOSE}/compose.yaml");
    let mut schema = linters.program("check-jsonschema")?;
    find_no_fault(schema.args(["--builtin-schema", "vendor.compose-spec", &file]), "the compose file")?;
    let mut yamllint = linters.program("yamllint")?;
    find_no_fault(yamllint.args(["--strict", "--config-data", YAML_RULES, &file]), "the compose file")
}

fn accepted(binary: &Path, nats_server: &Path, folder: &Path) -> Result<()> {
    // The server of the cluster reads its file, and its users from a secret beside it.
    let text = read(&format!("{COMPOSE}/nats.conf"))?;
    fs::write(folder.join("nats.conf"), text).context("failed to copy nats.conf")?;
    fs::write(folder.join("users.conf"), "users: [{user: heddle, password: \"secret\"}]\n")
        .context("failed to write users.conf")?;
    let mut server = command(nats_server);
    server.arg("-t").arg("-c").arg(folder.join("nats.conf")).env("SERVER_NAME", "nats-1");
    find_no_fault(&mut server, "nats.conf of the compose cluster")?;
    fs::create_dir_all(folder.join("app/secrets")).context("failed to create a folder")?;
    fs::write(folder.join("app/secrets/nats-password"), "secret").context("failed to write a password")?;
    let app = read(&format!("{COMPOSE}/app/heddle.toml"))?;
    fs::write(folder.join("app/heddle.toml"), app.replace("/run/secrets", "secrets"))
        .context("failed to copy heddle.toml")?;
    let mut graph = command(binary);
    graph.args(["graph", "--config"]).arg(folder.join("app/heddle.toml"));
    find_no_fault(&mut graph, "the application of the compose file")
}

/// Every variable that a packaged file sets is one that the program reads.
fn variables(binary: &Path) -> Result<()> {
    let help = output(command(binary).args(["run", "--help"]))?;
    let known = named(&help);
    let mut left = vec![root().join(PACKAGING)];
    let mut found = BTreeSet::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries =
                fs::read_dir(&path).with_context(|| format!("failed to list `{}`", path.display()))?;
            left.extend(entries.flatten().map(|entry| entry.path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.extend(named(&text));
        }
    }
    // Read by the compose file itself.
    found.remove("HEDDLE_IMAGE");
    let unknown: Vec<_> = found.difference(&known).collect();
    ensure!(unknown.is_empty(), "packaged files set variables that `heddle run` does not read: {unknown:?}");
    ensure!(!found.is_empty(), "the packaged files name no variable, which cannot be");
    Ok(())
}

/// The version of the workspace, where a file must name it.
fn versions() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let places = [
        (CONTAINERFILE.to_owned(), format!("ARG VERSION={version}\n")),
        (format!("{COMPOSE}/compose.yaml"), format!("heddle:{version}}}")),
        (CHART.to_owned(), format!("appVersion: \"{version}\"\n")),
    ];
    for (file, words) in places {
        ensure!(read(&file)?.contains(&words), "`{file}` does not say `{}`", words.trim());
    }
    Ok(())
}

fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    words.filter(|word| word.starts_with("HEDDLE_")).map(str::to_owned).collect()
}

fn read(path: &str) -> Result<String> {
    let path: PathBuf = root().join(path);
    fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_found_wherever_it_stands() {
        let found =
            named("- name: HEDDLE_LOG\nENV HEDDLE_CACHE=/x [env: HEDDLE_CONFIG=] XHEDDLE_NO heddle_no");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["HEDDLE_CACHE", "HEDDLE_CONFIG", "HEDDLE_LOG"]);
    }
}
