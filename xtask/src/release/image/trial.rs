//! A trial of the image: the order saga in containers, against a real server. What docs/containers.md says to an operator
//! is seen here to be so.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::container::{Bundle, Container, Mount};
use super::debian::Debian;
use super::layout::{Layout, USER};
use crate::release::inputs::Inputs;
use crate::release::promise::{hold, skip};
use crate::release::running::Running;
use crate::release::server::Server;
use crate::shell::{command, ending, output, root, target};

/// The application.
const SAGA: &str = "examples/order-saga/heddle.toml";

/// Where its file finds the plugins, in the tree and in the container.
const PLUGINS: [&str; 2] = ["../../target/wasm32-wasip2/plugin", "/plugins"];

/// A user as OpenShift chooses one, whom the image does not know.
const ANYBODY: u32 = 1_000_660_000;

/// Orders placed at a time.
const ORDERS: usize = 15;

/// What may be executed in the image, by the beginning of its name.
const PROGRAMS: [&str; 2] = ["heddle", "ld-linux"];

/// Runs it, with its files in a folder.
pub(super) fn run(
    debian: &Debian,
    layout: &Layout,
    inputs: &Inputs,
    nats_server: &Path,
    folder: &Path,
) -> Result<()> {
    let bundle = Bundle::unpack(debian, layout, &folder.join("bundle"))?;
    hold(
        "image: it has the program of all packages, no other program, no shell and no package manager",
        || {
            let program = fs::read(bundle.root().join("usr/bin/heddle")).context("it has no program")?;
            ensure!(program == inputs.program, "its program is not that of the other packages");
            no_other_program(&bundle)
        },
    )?;
    if let Some(reason) = no_namespaces() {
        skip("image: it runs in a container", &reason);
        return Ok(());
    }
    let server = Server::nats(nats_server, &folder.join("nats"))?;
    let config = folder.join("config");
    config_map(&config, 1)?;
    let mounts = [
        Mount { from: &config, to: "/etc/heddle" },
        Mount { from: &target().join("wasm32-wasip2/plugin"), to: PLUGINS[1] },
    ];
    let url = format!("nats://{}", server.address);
    let environment = [format!("HEDDLE_NATS_URL={url}"), "HEDDLE_LOG_FORMAT=json".to_owned()];
    bundle.harden(&mounts, &environment)?;
    let shop = Shop { binary: &inputs.binary, url: &url };
    lives(&bundle, &shop, &config)
}

/// From the first container to its successor.
fn lives(bundle: &Bundle<'_>, shop: &Shop<'_>, config: &Path) -> Result<()> {
    let mut first = hold("image: it runs with a read-only root, noexec on what can be written", || {
        started(bundle, "first")
    })?;
    let confinement = format!("image: it is process 1, user {USER}, without a capability");
    hold(&confinement, || confined(first.pid()?, USER))?;
    let second = bundle.start("second")?;
    hold("image: events are handled by components that were compiled in the container", || {
        shop.order(1)?;
        shop.notices(ORDERS)
    })?;
    hold("image: a second container beside it ends with 3", || {
        let (status, log) = second.end()?;
        ensure!(status.code() == Some(3), "the second container {}; its log:\n{log}", ending(status));
        Ok(())
    })?;
    hold("image: a changed ConfigMap is read while it runs", || {
        config_map(config, 2)?;
        first.until("reload complete")
    })?;
    hold("image: what has compiled the plugins is reaped", || reaped(first.pid()?))?;
    shop.order(2)?;
    let drain = format!("image: SIGTERM right behind {ORDERS} orders: it drains and ends with 0");
    hold(&drain, || ends_well(first))?;
    bundle.run_as(ANYBODY)?;
    let next = hold("image: it runs as any other user", || {
        let next = started(bundle, "next")?;
        confined(next.pid()?, ANYBODY)?;
        Ok(next)
    })?;
    hold("image: its successor goes on where it stopped: every order ended, each once", || {
        shop.notices(2 * ORDERS)?;
        // Whatever had been done twice would now stand before the last of these.
        shop.order(3)?;
        shop.notices(3 * ORDERS)?;
        ends_well(next)
    })
}

fn started<'a>(bundle: &Bundle<'a>, id: &str) -> Result<Container<'a>> {
    let mut container = bundle.start(id)?;
    container.until("running")?;
    Ok(container)
}

fn ends_well(container: Container<'_>) -> Result<()> {
    let (status, log) = container.terminate()?;
    ensure!(status.success(), "it {} on SIGTERM; its log:\n{log}", ending(status));
    Ok(())
}

/// Nothing but the program, and what loads it, can be executed.
fn no_other_program(bundle: &Bundle<'_>) -> Result<()> {
    let mut left = vec![bundle.root()];
    while let Some(folder) = left.pop() {
        for entry in
            fs::read_dir(&folder).with_context(|| format!("failed to list `{}`", folder.display()))?
        {
            let entry = entry?;
            let (facts, name) = (entry.metadata()?, entry.file_name());
            if facts.is_dir() {
                left.push(entry.path());
            }
            let name = name.to_string_lossy();
            let expected = PROGRAMS.iter().any(|program| name.starts_with(program)) || name.contains(".so.");
            ensure!(
                !facts.is_file() || facts.permissions().mode() & 0o111 == 0 || expected,
                "`{}` can be executed, and has no place in the image",
                entry.path().display()
            );
        }
    }
    Ok(())
}

/// Why no container can be started; none: one can.
fn no_namespaces() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it takes root to be another user in them".to_owned());
    }
    output(command("unshare").args(["--pid", "--mount", "--ipc", "--uts", "--fork", "true"]))
        .err()
        .map(|error| format!("{error:#}"))
}

/// What the kernel says of the first process of a container.
fn confined(pid: u32, user: u32) -> Result<()> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("failed to look at the container")?;
    let line = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    ensure!(line("NSpid").last().is_some_and(|pid| pid == "1"), "it is not process 1 of its namespace");
    ensure!(line("Uid").iter().all(|uid| *uid == user.to_string()), "it runs as {:?}", line("Uid"));
    ensure!(line("CapEff").iter().all(|set| set.trim_matches('0').is_empty()), "it has capabilities");
    ensure!(line("NoNewPrivs") == ["1"], "it may gain privileges");
    let mounts = fs::read_to_string(format!("/proc/{pid}/mounts")).context("failed to look at its mounts")?;
    let is_root = |line: &&str| line.split(' ').nth(1) == Some("/");
    let options = mounts.lines().rfind(is_root).and_then(|line| line.split(' ').nth(3)).unwrap_or_default();
    ensure!(options.split(',').any(|option| option == "ro"), "its root is mounted with `{options}`");
    Ok(())
}

/// The processes that have compiled the plugins are gone, and not only dead.
fn reaped(pid: u32) -> Result<()> {
    for entry in fs::read_dir("/proc").context("failed to list processes")?.flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((_, after_name)) = stat.rsplit_once(')') else { continue };
        let mut fields = after_name.split_whitespace();
        let (state, parent) = (fields.next(), fields.next());
        ensure!(parent != Some(&pid.to_string()) || state != Some("Z"), "a child of the host is a zombie");
    }
    Ok(())
}

/// Lays the file out as the kubelet does: the name is a link into a folder that one link stands for, and a change replaces that link.
fn config_map(folder: &Path, version: u32) -> Result<()> {
    let text = fs::read_to_string(root().join(SAGA)).with_context(|| format!("failed to read `{SAGA}`"))?;
    let [here, there] = PLUGINS;
    let text = format!("{}\n# Version {version}.\n", text.replace(here, there))
        .replace("limit = \"10000\"", &format!("limit = \"{version}0000\""));
    let data = format!("..{version}");
    fs::create_dir_all(folder.join(&data)).context("failed to create a ConfigMap")?;
    fs::write(folder.join(&data).join("heddle.toml"), text).context("failed to write a ConfigMap")?;
    let (new, current, file) = (folder.join("..data_tmp"), folder.join("..data"), folder.join("heddle.toml"));
    symlink(&data, &new).context("failed to link a ConfigMap")?;
    fs::rename(&new, &current).context("failed to replace a ConfigMap")?;
    if file.symlink_metadata().is_err() {
        symlink("..data/heddle.toml", &file).context("failed to link a file of a ConfigMap")?;
    }
    Ok(())
}

/// The application, as its customers see it.
struct Shop<'a> {
    binary: &'a Path,
    url: &'a str,
}

impl Shop<'_> {
    /// Places orders of one customer each.
    fn order(&self, round: u32) -> Result<()> {
        for customer in 0..ORDERS {
            let order = format!(r#"{{"order": "o-{round}-{customer}", "item": "yarn", "amount": 1}}"#);
            output(self.heddle().args(["publish", &format!("order.placed.c{customer}"), &order]))?;
        }
        Ok(())
    }

    /// Waits until as many orders have ended, and checks that none has twice.
    fn notices(&self, count: usize) -> Result<()> {
        let mut tail = self.heddle();
        tail.args(["tail", "--json", "--from", "1", "-n", &count.to_string(), "notice.sent.*"]);
        let rows = Running::output("heddle tail", &mut tail)?;
        let orders: BTreeSet<String> = rows
            .lines()
            .filter_map(|row| {
                let row: Value = serde_json::from_str(row).ok()?;
                let notice = row.get("json").or_else(|| row.get("payload"))?.to_string();
                Some(notice.split("o-").nth(1)?.split('"').next()?.trim_end_matches('\\').to_owned())
            })
            .collect();
        ensure!(orders.len() == count, "{count} notices are of {} orders:\n{rows}", orders.len());
        Ok(())
    }

    fn heddle(&self) -> Command {
        let mut heddle = command(self.binary);
        heddle.env("HEDDLE_CONFIG", SAGA).env("HEDDLE_NATS_URL", self.url);
        heddle
    }
}
