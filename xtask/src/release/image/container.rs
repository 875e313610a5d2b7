//! A container from the image, started as hardened as the chart starts it: root read-only, an unprivileged user, no
//! capability, process 1 of its own namespace. runc starts it, from what umoci unpacks; no daemon is asked.
//!
//! Knows nothing of what the program in it does.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::debian::Debian;
use super::layout::{Layout, read, write};
use crate::release::running::Running;
use crate::shell::output;

/// What is mounted by default and kept; what else umoci adds needs rights that the container does not have.
const KEPT_MOUNTS: [&str; 4] = ["/proc", "/dev", "/dev/pts", "/dev/shm"];

/// An unpacked image with its settings for a runtime.
#[derive(Debug)]
pub(super) struct Bundle<'a> {
    debian: &'a Debian,
    folder: PathBuf,
}

/// A folder of the machine that is seen in the container, and cannot be written there.
#[derive(Debug)]
pub(super) struct Mount<'a> {
    pub(super) from: &'a Path,
    pub(super) to: &'a str,
}

impl<'a> Bundle<'a> {
    /// Unpacks an image into a folder that does not exist.
    pub(super) fn unpack(debian: &'a Debian, layout: &Layout, folder: &Path) -> Result<Self> {
        let no_root = ["--rootless"].into_iter().filter(|_| !rustix::process::geteuid().is_root());
        let mut unpack = debian.program("umoci");
        unpack.args(["unpack", "--image", &layout.tag()]).args(no_root);
        output(unpack.arg(folder))?;
        Ok(Bundle { debian, folder: folder.to_owned() })
    }

    /// Where the files of the image are.
    pub(super) fn root(&self) -> PathBuf {
        self.folder.join("rootfs")
    }

    /// Sets what the image leaves to whoever runs it. What the image says (program, user, folder, environment) stays.
    pub(super) fn harden(&self, mounts: &[Mount<'_>], environment: &[String]) -> Result<()> {
        let file = self.folder.join("config.json");
        let mut config = read(&file)?;
        let kept = config.get("mounts").and_then(Value::as_array).cloned().unwrap_or_default();
        let is_kept = |mount: &Value| {
            let place = mount.get("destination").and_then(Value::as_str).unwrap_or_default();
            KEPT_MOUNTS.contains(&place)
        };
        let mut all: Vec<Value> = kept.into_iter().filter(is_kept).collect();
        all.extend(["/tmp", "/var/cache/heddle"].map(|place| {
            let options = ["nosuid", "nodev", "noexec", "mode=1777", "size=512m"];
            json!({ "destination": place, "type": "tmpfs", "source": "tmpfs", "options": options })
        }));
        all.extend(mounts.iter().map(|mount| {
            json!({ "destination": mount.to, "type": "bind", "source": mount.from, "options": ["rbind", "ro"] })
        }));
        let process = config.get_mut("process").context("umoci has written no process")?;
        let variables =
            process.get_mut("env").and_then(Value::as_array_mut).context("a process has variables")?;
        variables.extend(environment.iter().map(|variable| json!(variable)));
        let process = process.as_object_mut().context("a process is an object")?;
        process.insert("terminal".to_owned(), json!(false));
        process.insert("noNewPrivileges".to_owned(), json!(true));
        process.insert("capabilities".to_owned(), json!({}));
        let config_of = config.as_object_mut().context("settings are an object")?;
        config_of.insert("mounts".to_owned(), json!(all));
        config_of.insert("root".to_owned(), json!({ "path": "rootfs", "readonly": true }));
        // The network is the machine's: the server listens on its loopback interface.
        let namespaces = ["pid", "mount", "ipc", "uts"].map(|kind| json!({ "type": kind }));
        config_of.insert("linux".to_owned(), json!({ "namespaces": namespaces }));
        write(&file, &config)
    }

    /// Has the next one run as another user, of the group 0, whatever the image says.
    pub(super) fn run_as(&self, user: u32) -> Result<()> {
        let file = self.folder.join("config.json");
        let mut config = read(&file)?;
        *config.pointer_mut("/process/user").context("umoci has written no user")? =
            json!({ "uid": user, "gid": 0 });
        write(&file, &config)
    }

    /// Starts it.
    pub(super) fn start(&self, id: &str) -> Result<Container<'a>> {
        let mut runc = self.runc();
        runc.args(["run", "--bundle"]).arg(&self.folder).arg(id);
        let running = Running::start(&format!("the container `{id}`"), &mut runc)?;
        let bundle = Bundle { debian: self.debian, folder: self.folder.clone() };
        Ok(Container { leftovers: Leftovers { bundle, id: id.to_owned() }, running })
    }

    fn runc(&self) -> std::process::Command {
        let mut runc = self.debian.program("runc");
        runc.arg("--root").arg(self.folder.join("state"));
        runc
    }
}

/// A running container. Whatever happens, it does not outlive the value that stands for it.
#[derive(Debug)]
pub(super) struct Container<'a> {
    /// Dropped first: runc removes the container, and only then its own process is killed.
    leftovers: Leftovers<'a>,
    running: Running,
}

impl Container<'_> {
    /// Waits until it has logged a message.
    pub(super) fn until(&mut self, message: &str) -> Result<()> {
        self.running.wait_for_line(message, |line| says(line, message)).map(drop)
    }

    /// Its first process, as the machine numbers it.
    pub(super) fn pid(&self) -> Result<u32> {
        let Leftovers { bundle, id } = &self.leftovers;
        let state: Value = serde_json::from_str(&output(bundle.runc().args(["state", id]))?)?;
        let pid =
            state.get("pid").and_then(Value::as_u64).context("runc knows no process of the container")?;
        Ok(u32::try_from(pid)?)
    }

    /// Sends its first process SIGTERM, and waits until it has ended: how, and what it has logged.
    pub(super) fn terminate(self) -> Result<(ExitStatus, String)> {
        let Leftovers { bundle, id } = &self.leftovers;
        output(bundle.runc().args(["kill", id, "TERM"]))?;
        self.end()
    }

    /// Waits until it has ended: how, and what it has logged.
    pub(super) fn end(self) -> Result<(ExitStatus, String)> {
        self.running.end()
    }
}

/// What runc knows of a container.
#[derive(Debug)]
struct Leftovers<'a> {
    bundle: Bundle<'a>,
    id: String,
}

impl Drop for Leftovers<'_> {
    fn drop(&mut self) {
        // It has gone by itself if it has ended; then there is nothing to remove.
        output(self.bundle.runc().args(["delete", "--force", &self.id])).ok();
    }
}

/// Whether a line of a JSON log has a message.
fn says(line: &str, message: &str) -> bool {
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    line.get("message").and_then(Value::as_str) == Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_whole_of_its_line() {
        assert!(says(r#"{"level":"INFO","message":"running","app":"shop"}"#, "running"));
        assert!(!says(r#"{"level":"INFO","message":"not running"}"#, "running"));
        assert!(!says("running", "running"));
    }
}
