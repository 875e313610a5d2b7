//! This machine and this process: whether plugins can be compiled and run, and how much room there is.

use std::num::NonZeroUsize;
use std::path::Path;

use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit};

use super::super::CacheArgs;
use super::Findings;
use crate::host::Workshop;
use heddle_values::policy::Limits;

const ABOUT: &str = "machine";

/// With less room than this, in bytes, there is a note: it holds some fifteen of the largest plugins, compiled.
const ROOM_FOR_PLUGINS: u64 = 1 << 30;

/// A host has a connection, files and pipes; each handler that calls HTTP services adds connections.
const DESCRIPTORS: u64 = 1_024;

/// A host with a few handlers takes about a tenth of it; events in memory and instances come on top.
const MEMORY: u64 = 512 << 20;

pub(super) async fn check(cache: &CacheArgs, findings: &mut Findings) {
    let (version, cores) = (env!("CARGO_PKG_VERSION"), std::thread::available_parallelism());
    let cores = cores.map_or(1, NonZeroUsize::get);
    findings.ok(ABOUT, format!("heddle {version}, {}, cores: {cores}", std::env::consts::ARCH));
    match cache.workshop() {
        Err(error) => findings.error(ABOUT, format!("{error:#}")),
        Ok(workshop) => {
            let folder = workshop.artifacts.clone();
            try_plugin(workshop, findings).await;
            look_at_room(&folder, findings);
        }
    }
    look_at_descriptors(getrlimit(Resource::Nofile).current, findings);
    look_at_memory(memory_limit(), findings);
}

/// Compiles and loads a small component, as a host does with plugins.
async fn try_plugin(workshop: Workshop, findings: &mut Findings) {
    let folder = workshop.artifacts.display().to_string();
    let tried = match workshop.sandbox(Limits::default().memory) {
        Ok(sandbox) => sandbox.try_out().await,
        Err(error) => Err(error),
    };
    match tried {
        Ok(()) => findings.ok(ABOUT, format!("plugins can be compiled and run; they are kept in `{folder}`")),
        Err(error) => findings.error(ABOUT, format!("plugins cannot run: {error}")),
    }
}

fn look_at_room(folder: &Path, findings: &mut Findings) {
    let Ok(facts) = statvfs(folder) else { return };
    let free = facts.f_bavail.saturating_mul(facts.f_frsize);
    if free < ROOM_FOR_PLUGINS {
        findings.note(
            ABOUT,
            format!("`{}` has {} MiB free; compiled plugins take up to 8 GiB before old ones are removed: name another folder with --cache or HEDDLE_CACHE", folder.display(), free >> 20),
        );
    }
}

fn look_at_descriptors(limit: Option<u64>, findings: &mut Findings) {
    if let Some(limit) = limit.filter(|limit| *limit < DESCRIPTORS) {
        findings.note(
            ABOUT,
            format!("this process may open {limit} files: allow {DESCRIPTORS} or more (`ulimit -n`, `LimitNOFILE` of systemd)"),
        );
    }
}

fn look_at_memory(limit: Option<u64>, findings: &mut Findings) {
    if let Some(limit) = limit.filter(|limit| *limit < MEMORY) {
        findings.note(
            ABOUT,
            format!(
                "this process may use {} MiB of memory: give a host {} MiB or more",
                limit >> 20,
                MEMORY >> 20
            ),
        );
    }
}

/// What the control group allows, in bytes; none: no bound is known.
fn memory_limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let file = Path::new("/sys/fs/cgroup").join(group.trim_start_matches('/')).join("memory.max");
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_are_too_low_are_worth_a_note_with_what_to_do() {
        let mut findings = Findings::default();
        look_at_descriptors(Some(4_096), &mut findings);
        look_at_descriptors(None, &mut findings);
        look_at_memory(Some(8 << 30), &mut findings);
        assert!(findings.0.is_empty());
        look_at_descriptors(Some(256), &mut findings);
        look_at_memory(Some(64 << 20), &mut findings);
        let texts: Vec<&str> = findings.0.iter().map(|finding| finding.text.as_str()).collect();
        assert!(texts[0].contains("256") && texts[0].contains("LimitNOFILE"), "{texts:?}");
        assert!(texts[1].contains("64 MiB"), "{texts:?}");
        assert_eq!(findings.errors(), 0);
    }
}
