//! The system's notifications: they wake the task that polls files, and say nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::LOOK_ANYWAY;

/// The system's notifications.
pub(super) struct Alarm {
    watcher: RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
    /// Something was removed or renamed: it may have been a watched folder, and another may have its name now.
    moved: Arc<AtomicBool>,
    complained: bool,
}

impl Alarm {
    /// None where the system gives no notifications.
    pub(super) fn new(wake: SyncSender<()>) -> Option<Self> {
        let moved = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&moved);
        let notice = move |event: notify::Result<notify::Event>| {
            if event.as_ref().is_ok_and(|event| is_only_read(&event.kind)) {
                return;
            }
            if event.map_or(true, |event| event.need_rescan() || moves(&event.kind)) {
                flag.store(true, Ordering::Release);
            }
            // Where it is full, a look is to come.
            wake.try_send(()).ok();
        };
        match notify::recommended_watcher(notice) {
            Ok(watcher) => Some(Alarm { watcher, folders: BTreeSet::new(), moved, complained: false }),
            Err(error) => {
                tracing::warn!(
                    "polling files every {LOOK_ANYWAY:?}: file notifications are not available: {error}"
                );
                None
            }
        }
    }

    /// Watches these folders and no others. Whether one of them may not have been watched until now.
    pub(super) fn set(&mut self, folders: &BTreeSet<PathBuf>) -> bool {
        for folder in self.folders.difference(folders) {
            // A folder that is gone is not watched any more.
            self.watcher.unwatch(folder).ok();
        }
        self.folders.retain(|folder| folders.contains(folder));
        // To watch a folder once more does no harm.
        let all = self.moved.swap(false, Ordering::AcqRel);
        let mut new = false;
        for folder in folders {
            if !all && self.folders.contains(folder) {
                continue;
            }
            match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    new = true;
                    self.folders.insert(folder.clone());
                }
                Err(error) => {
                    self.folders.remove(folder);
                    self.complain(folder, &error);
                }
            }
        }
        new
    }

    /// Once: the next one would say the same.
    fn complain(&mut self, folder: &Path, error: &notify::Error) {
        // A folder that has just gone is no reason.
        if !self.complained && folder.is_dir() {
            self.complained = true;
            let folder = folder.display();
            tracing::warn!(
                "polling `{folder}` every {LOOK_ANYWAY:?}: file notifications are not available: {error}"
            );
        }
    }
}

/// Reading changes nothing. Our own looks are among what is notified.
fn is_only_read(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write))
}

fn moves(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)))
}
