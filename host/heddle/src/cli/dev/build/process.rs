//! The processes of one build: a group of their own, which ends with the value that stands for it.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, setpriority_process};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use heddle_values::settings::BuildCommand;

/// Events go first: a process at this level gets a tenth of the time of one at the usual level.
const NICE: i32 = 10;

/// What a build wrote before it ended is read within this. A process that it left behind may never close the pipe.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What is kept of a line, in bytes.
const LONGEST_LINE: usize = 4096;

/// Where the output of a build goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// To the terminal, at once. The build has the machine for itself.
    Live,
    /// Keeps the last N lines. The build runs at a low priority.
    Kept(usize),
}

/// How a build ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: ExitStatus,
    pub(super) elapsed: Duration,
    /// The last lines, where they were to be kept.
    pub(super) lines: String,
}

/// The processes of a build. Those that are left are killed when this is dropped before the build has ended.
pub(super) struct Group {
    child: Child,
    began: Instant,
    output: Option<(Receiver, Tail)>,
}

impl Group {
    pub(super) fn start(command: &BuildCommand, folder: &Path, output: Output) -> std::io::Result<Self> {
        let began = Instant::now();
        let mut command = prepared(command, folder);
        let (child, output) = match output {
            Output::Live => {
                // Standard output is for what `heddle dev` itself says.
                command.stdout(std::io::stderr()).stderr(Stdio::inherit());
                (command.spawn()?, None)
            }
            Output::Kept(lines) => {
                // One pipe for both, so that the lines keep their order.
                let (reader, writer) = std::io::pipe()?;
                command.stdout(writer.try_clone()?).stderr(writer);
                colour(&mut command);
                let reader = Receiver::from_owned_fd(reader.into())?;
                (spawn_behind(command)?, Some((reader, Tail::new(lines))))
            }
        };
        Ok(Group { child, began, output })
    }

    /// Waits for the end of the build.
    pub(super) async fn outcome(mut self) -> std::io::Result<Outcome> {
        let Some((mut pipe, mut tail)) = self.output.take() else {
            let status = self.child.wait().await?;
            return Ok(Outcome { status, elapsed: self.began.elapsed(), lines: String::new() });
        };
        let status = {
            let reading = read(&mut pipe, &mut tail);
            tokio::pin!(reading);
            // Cancel-safe: the reading is only borrowed, and a wait can be begun again.
            tokio::select! {
                status = self.child.wait() => {
                    let status = status?;
                    tokio::time::timeout(LAST_WORDS, reading).await.ok();
                    status
                }
                () = &mut reading => self.child.wait().await?,
            }
        };
        Ok(Outcome { status, elapsed: self.began.elapsed(), lines: tail.text() })
    }

    /// None once the first process was awaited: then the number may be another's.
    fn id(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.id() {
            // None of them is left: that is what was wanted.
            kill_process_group(id, Signal::KILL).ok();
        }
    }
}

fn prepared(command: &BuildCommand, folder: &Path) -> Command {
    let mut prepared = match command {
        BuildCommand::Shell(line) => {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(line);
            shell
        }
        BuildCommand::Program { program, arguments } => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
    };
    prepared.current_dir(folder).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    prepared
}

/// Starts a command at the level [`NICE`]. Its end of a pipe is ours no longer then.
fn spawn_behind(mut command: Command) -> std::io::Result<Child> {
    let runtime = tokio::runtime::Handle::current();
    let start = || {
        let _entered = runtime.enter();
        // Whoever has a worse level already keeps it.
        setpriority_process(None, NICE).ok();
        command.spawn()
    };
    // A process begins at the level of the thread that starts it, and a thread cannot go back to a better one.
    std::thread::scope(|scope| scope.spawn(start).join())
        .unwrap_or_else(|_| Err(std::io::Error::other("the thread that starts it has panicked")))
}

/// Asks for colours, which programs leave out when they write to a pipe.
fn colour(command: &mut Command) {
    if !std::io::stderr().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
        return;
    }
    for (name, value) in [("CARGO_TERM_COLOR", "always"), ("CLICOLOR_FORCE", "1"), ("FORCE_COLOR", "1")] {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
}

/// Reads until nobody can write any more.
async fn read(pipe: &mut Receiver, tail: &mut Tail) {
    let mut buffer = vec![0; 8 << 10];
    // What cannot be read is not shown; how the build ended is what counts.
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        tail.push(buffer.get(..count).unwrap_or_default());
    }
}

/// The last lines of an output.
#[derive(Debug)]
struct Tail {
    most: usize,
    lines: VecDeque<Vec<u8>>,
    /// The line that is not yet at its end.
    open: Vec<u8>,
}

impl Tail {
    fn new(most: usize) -> Self {
        Tail { most, lines: VecDeque::new(), open: Vec::new() }
    }

    fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n");
            let room = LONGEST_LINE.saturating_sub(self.open.len());
            self.open.extend(text.unwrap_or(part).iter().take(room));
            if text.is_some() {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        self.lines.push_back(std::mem::take(&mut self.open));
        if self.lines.len() > self.most {
            self.lines.pop_front();
        }
    }

    fn text(mut self) -> String {
        if !self.open.is_empty() {
            self.end_line();
        }
        let lines: Vec<_> = self.lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
        lines.join("\n").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(line: &str, lines: usize) -> Outcome {
        let command = BuildCommand::Shell(line.to_owned());
        let group = Group::start(&command, Path::new("."), Output::Kept(lines)).unwrap();
        group.outcome().await.unwrap()
    }

    #[test]
    fn the_last_lines_are_kept_and_long_ones_are_cut() {
        let mut tail = Tail::new(2);
        for piece in ["one\ntw", "o\nthree\n", "fo", "ur"] {
            tail.push(piece.as_bytes());
        }
        assert_eq!(tail.text(), "three\nfour");
        let mut tail = Tail::new(2);
        tail.push("x".repeat(3 * LONGEST_LINE).as_bytes());
        tail.push(b"\nend\n");
        assert_eq!(tail.text().len(), LONGEST_LINE + 4);
    }

    #[tokio::test]
    async fn both_outputs_are_kept_in_their_order_with_the_status() {
        let outcome = run("echo none; echo one; echo two >&2; echo three; exit 7", 3).await;
        assert_eq!((outcome.status.code(), &*outcome.lines), (Some(7), "one\ntwo\nthree"));
    }

    #[tokio::test]
    async fn a_build_gives_way_and_is_not_asked_anything() {
        let outcome = run("nice; read answer || echo nobody", 9).await;
        let expected: i32 = outcome.lines.lines().next().unwrap().parse().unwrap();
        assert!(expected >= NICE, "{}", outcome.lines);
        assert!(outcome.lines.ends_with("nobody"));
    }

    #[tokio::test]
    async fn a_process_that_is_left_behind_is_not_waited_for() {
        let outcome = run("sleep 20 & echo $!", 9).await;
        assert!(outcome.elapsed < Duration::from_secs(10));
        let left = Pid::from_raw(outcome.lines.parse().unwrap()).unwrap();
        rustix::process::kill_process(left, Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn every_process_of_a_build_ends_with_the_group() {
        let folder = tempfile::tempdir().unwrap();
        let command = BuildCommand::Shell("sleep 600 & echo $! > new; mv new id; wait".to_owned());
        let group = Group::start(&command, folder.path(), Output::Kept(9)).unwrap();
        let id = wait_for(|| std::fs::read_to_string(folder.path().join("id")).ok()).await;
        drop(group);
        let stat = format!("/proc/{}/stat", id.trim());
        // What is dead stays in the table until it is awaited.
        let ended = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        wait_for(|| ended().then_some(())).await;
    }

    async fn wait_for<T>(mut condition: impl FnMut() -> Option<T>) -> T {
        for _ in 0..3_000 {
            if let Some(value) = condition() {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain")
    }
}
