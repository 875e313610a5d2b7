//! Watches files, and says which have changed once they have come to rest.
//!
//! What has changed is decided by looking at the files: device, inode, size and time of the last write. The system's
//! notifications only say when to look, and as many file systems notify nobody, files are also polled every two seconds. A
//! file that is still being written is not reported until it has stood still for a while. What is in the files is the
//! caller's to compare: a file that was only touched is reported too.

mod alarm;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::mpsc;

use alarm::Alarm;

/// How long a file stands still before it counts as written.
const REST: Duration = Duration::from_millis(100);

/// The interval of polling without a notification: network file systems and mounts of containers send none.
const LOOK_ANYWAY: Duration = Duration::from_secs(2);

/// What is notified within this is handled together.
const GATHER: Duration = Duration::from_millis(20);

/// After a poll there is none for N times as long as it took.
const SPARING: u32 = 10;

/// N links are followed on the way to a file, as the system itself does.
const MAX_LINKS: usize = 40;

/// Folders below a watched one in which nothing is written by hand. Hidden ones are left out too.
const LEFT_OUT: [&str; 2] = ["target", "node_modules"];

/// Why nothing is watched.
#[derive(Debug, Error)]
pub enum Error {
    /// The system has no thread to give, because memory or a limit is used up. A later try may succeed.
    #[error("failed to start the thread that watches files: {0}")]
    Thread(#[from] std::io::Error),
}

/// Says when files have changed and come to rest. What changes after it was made is reported.
#[derive(Debug)]
pub struct Watch {
    reports: mpsc::Receiver<Vec<PathBuf>>,
    /// Wakes the thread when this is dropped, so that it ends.
    alive: SyncSender<()>,
}

impl Watch {
    /// Watches single files, which need not exist yet. A file that is gone is reported once it is back.
    pub fn files(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self, Error> {
        Self::start(Scope { paths: paths.into_iter().collect(), deep: false }, true)
    }

    /// Watches folders with everything below, and single files; leaves out `target`, `node_modules`, hidden folders
    /// and what editors leave beside a file. A file that is gone is reported too.
    pub fn trees(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self, Error> {
        Self::start(Scope { paths: paths.into_iter().collect(), deep: true }, true)
    }

    /// The next files that changed and have come to rest, by the names they are watched under. Cancel-safe: what is
    /// not taken is kept. Never ends.
    pub async fn changed(&mut self) -> Vec<PathBuf> {
        match self.reports.recv().await {
            Some(paths) => paths,
            // The thread ends after this value, never before.
            None => std::future::pending().await,
        }
    }

    fn start(scope: Scope, notified: bool) -> Result<Self, Error> {
        let (wake, woken) = sync_channel(1);
        let (sender, reports) = mpsc::channel(1);
        let mut looker = Looker::new(scope, notified.then(|| wake.clone()));
        std::thread::Builder::new()
            .name("heddle-watch".to_owned())
            .spawn(move || looker.run(&woken, &sender))?;
        Ok(Watch { reports, alive: wake })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.reports.close();
        // Where it is full, the thread is about to wake anyway.
        self.alive.try_send(()).ok();
    }
}

/// The file that was written last of those that [`Watch::trees`] watches, without those of `made`: if it was written after
/// `file`. None if that is not there.
pub fn newer_than(file: &Path, trees: &[PathBuf], made: &[PathBuf]) -> Option<PathBuf> {
    let written = Fingerprint::of(&std::fs::metadata(file).ok()?).written();
    let sources = Scope { paths: trees.to_vec(), deep: true }.scan().files;
    let sources = sources.into_iter().filter(|(path, _)| !made.contains(path));
    let (newest, print) = sources.max_by_key(|(_, print)| print.written())?;
    (print.written() > written).then_some(newest)
}

/// What tells a file from what it was before. A change of its rights alone is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Fingerprint {
    fn of(facts: &Metadata) -> Self {
        Fingerprint {
            device: facts.dev(),
            inode: facts.ino(),
            size: facts.size(),
            seconds: facts.mtime(),
            nanoseconds: facts.mtime_nsec(),
        }
    }

    /// When the file was written, as something to be compared.
    fn written(self) -> (i64, i64) {
        (self.seconds, self.nanoseconds)
    }
}

type Fingerprints = BTreeMap<PathBuf, Fingerprint>;

/// What is watched.
#[derive(Debug)]
struct Scope {
    paths: Vec<PathBuf>,
    /// With everything below.
    deep: bool,
}

/// What a look found: the files as they are, and the folders in which changes of them show.
#[derive(Debug, Default)]
struct Sight {
    files: Fingerprints,
    folders: BTreeSet<PathBuf>,
}

impl Scope {
    fn scan(&self) -> Sight {
        let mut sight = Sight::default();
        for path in &self.paths {
            sight.folders.extend(way(path));
            match std::fs::metadata(path) {
                Ok(facts) if facts.is_file() => {
                    sight.files.insert(path.clone(), Fingerprint::of(&facts));
                }
                Ok(facts) if facts.is_dir() && self.deep => sight.walk(path, &facts, &mut BTreeSet::new()),
                // What is not there, or cannot be looked at, may be there at the next look.
                Ok(_) | Err(_) => {}
            }
        }
        sight
    }
}

impl Sight {
    /// A tree may contain a link to a folder that contains the link: what was visited is not visited again.
    fn walk(&mut self, folder: &Path, facts: &Metadata, visited: &mut BTreeSet<(u64, u64)>) {
        if !visited.insert((facts.dev(), facts.ino())) {
            return;
        }
        self.folders.extend(folder.canonicalize());
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let Ok(facts) = std::fs::metadata(&path) else { continue };
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if facts.is_dir() && !name.starts_with('.') && !LEFT_OUT.contains(&&*name) {
                self.walk(&path, &facts, visited);
            } else if facts.is_file() && !is_left_by_an_editor(&name) {
                self.files.insert(path, Fingerprint::of(&facts));
            }
        }
    }
}

/// Backups, locks, swap files, and the file by which Vim tries whether it may write.
fn is_left_by_an_editor(name: &str) -> bool {
    let swap = || name.rsplit_once('.').is_some_and(|(_, ending)| ["swp", "swo", "swx"].contains(&ending));
    name.ends_with('~')
        || name.starts_with(".#")
        || (name.starts_with('#') && name.ends_with('#'))
        || (name.starts_with('.') && swap())
        || name == "4913"
}

/// The folders in which it shows that another file has come to stand under this name: the one that holds the file, and
/// those that hold a link on the way. Where the way breaks off, the last folder that is there.
fn way(path: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let Ok(absolute) = std::path::absolute(path) else { return folders };
    let mut ahead = parts(&absolute);
    let mut here = PathBuf::new();
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        let next = match part.components().next() {
            Some(Component::Normal(name)) => here.join(name),
            Some(Component::ParentDir) => {
                here.pop();
                continue;
            }
            // A link may lead to the root again.
            _ => {
                here = part;
                continue;
            }
        };
        match std::fs::symlink_metadata(&next) {
            Ok(facts) if facts.is_symlink() && links < MAX_LINKS => {
                links += 1;
                ahead.extend(std::fs::read_link(&next).iter().flat_map(|target| parts(target)));
                folders.push(here.clone());
            }
            Ok(_) if !ahead.is_empty() => here = next,
            Ok(_) | Err(_) => {
                folders.push(here);
                break;
            }
        }
    }
    folders
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<PathBuf> {
    path.components().rev().map(|part| PathBuf::from(&part)).collect()
}

/// Which files have changed, and since when they stand still. Reads no clock.
#[derive(Debug)]
struct Changes {
    /// As they were reported last.
    known: Fingerprints,
    /// What differs from that, and since when it has been as it is. None: it is gone.
    restless: BTreeMap<PathBuf, (Option<Fingerprint>, Instant)>,
    /// Whether it is a change that a file is gone.
    counts_gone: bool,
}

impl Changes {
    /// Takes what a look found, and gives the files that have come to rest.
    fn take(&mut self, seen: &Fingerprints, now: Instant) -> Vec<PathBuf> {
        let mut differs: BTreeMap<PathBuf, Option<Fingerprint>> = BTreeMap::new();
        let other = |(path, print): &(&PathBuf, &Fingerprint)| self.known.get(*path) != Some(*print);
        differs.extend(seen.iter().filter(other).map(|(path, print)| (path.clone(), Some(*print))));
        if self.counts_gone {
            let gone = self.known.keys().filter(|path| !seen.contains_key(*path));
            differs.extend(gone.map(|path| (path.clone(), None)));
        }
        let before = std::mem::take(&mut self.restless);
        let mut rested = Vec::new();
        for (path, print) in differs {
            let same = before.get(&path).filter(|(earlier, _)| *earlier == print);
            let since = same.map_or(now, |(_, since)| *since);
            if now.saturating_duration_since(since) < REST {
                self.restless.insert(path, (print, since));
                continue;
            }
            match print {
                Some(print) => self.known.insert(path.clone(), print),
                None => self.known.remove(&path),
            };
            rested.push(path);
        }
        rested
    }

    /// When the next file may have come to rest.
    fn due(&self) -> Option<Instant> {
        self.restless.values().map(|(_, since)| *since + REST).min()
    }
}

/// The thread's own: looks, and has itself woken.
struct Looker {
    scope: Scope,
    changes: Changes,
    alarm: Option<Alarm>,
}

impl Looker {
    /// With a sender of wakes where notifications are wanted.
    fn new(scope: Scope, wake: Option<SyncSender<()>>) -> Self {
        let mut alarm = wake.and_then(Alarm::new);
        // First the alarm, then the look: what happens between the two wakes.
        if let Some(alarm) = &mut alarm {
            alarm.set(&scope.scan().folders);
        }
        let known = scope.scan().files;
        let changes = Changes { known, restless: BTreeMap::new(), counts_gone: scope.deep };
        Looker { scope, changes, alarm }
    }

    /// Ends when nobody waits for reports any more.
    fn run(&mut self, woken: &Receiver<()>, reports: &mpsc::Sender<Vec<PathBuf>>) {
        while !reports.is_closed() {
            let began = Instant::now();
            let sight = self.scope.scan();
            // A folder that is watched only now may have changed just before.
            let again = self.alarm.as_mut().is_some_and(|alarm| alarm.set(&sight.folders));
            let now = Instant::now();
            let pause = GATHER.max(now.saturating_duration_since(began) * SPARING);
            let rested = self.changes.take(&sight.files, now);
            if !rested.is_empty() && reports.blocking_send(rested).is_err() {
                return;
            }
            let rest = self.changes.due().map_or(LOOK_ANYWAY, |due| due.saturating_duration_since(now));
            if !again && woken.recv_timeout(rest) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            gather(woken, pause);
        }
    }
}

/// Waits a little, however often it is woken.
fn gather(woken: &Receiver<()>, pause: Duration) {
    let until = Instant::now() + pause;
    while let Ok(()) = woken.recv_timeout(until.saturating_duration_since(Instant::now())) {}
}

#[cfg(test)]
mod tests;
