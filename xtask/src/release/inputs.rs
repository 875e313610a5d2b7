//! What all packages are made from: the program without its debug information, what it says about itself, and the documents of
//! the repository.
//!
//! Knows no kind of package.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::components::{self, Component};
use super::files::{Effort, File};
use super::needs::{self, Needs};
use super::{licenses, template};
use crate::shell::{command, empty, output, root, run, step, target};

/// The crate that is the program.
pub(super) const PROGRAM: &str = "heddle";

/// Templates of packages, and the unit for systemd.
const PACKAGING: &str = "host/heddle/packaging";

/// Shells, and what their files of completions are called.
const SHELLS: [(&str, &str); 3] = [("bash", "heddle"), ("zsh", "_heddle"), ("fish", "heddle.fish")];

/// What of the program is left out. The names of functions stay: backtraces in reports of bugs need them.
pub(super) const STRIP_OPTIONS: [&str; 2] = ["--strip-debug", "--remove-section=.comment"];

/// What all packages are made from.
pub(super) struct Inputs {
    /// As the program tells it.
    pub(super) version: String,
    /// The program as it was built.
    pub(super) binary: PathBuf,
    /// The same, without debug information.
    pub(super) program: Vec<u8>,
    /// What the program needs of a machine.
    pub(super) needs: Needs,
    /// The crates that it was built from.
    pub(super) components: Vec<Component>,
    /// The licenses and notices of those crates.
    licenses: String,
    /// The time in all files, in seconds since 1970.
    pub(super) epoch: u64,
    pub(super) effort: Effort,
    /// A folder for work, gone in the end.
    work: TempDir,
}

impl Inputs {
    /// Strips the program, and asks it for what it can tell.
    pub(super) fn gather(binary: &Path, epoch: Option<u64>, effort: Effort) -> Result<Self> {
        let binary =
            binary.canonicalize().with_context(|| format!("there is no program `{}`", binary.display()))?;
        step(&format!("what packages are made from: {}", binary.display()));
        fs::create_dir_all(target()).context("failed to create the target folder")?;
        let work =
            tempfile::Builder::new().prefix("release-").tempdir_in(target()).context("no folder for work")?;
        let version = output(command(&binary).arg("--version"))?;
        let version = version.trim().strip_prefix("heddle ").context("the program is not heddle")?.to_owned();
        // Python and Debian order others in their own ways.
        ensure!(
            !version.contains('-'),
            "{version} is a version before a release, which not every package can have"
        );
        let stripped = work.path().join("heddle");
        run(command("strip").args(STRIP_OPTIONS).arg("-o").args([&stripped, &binary]))
            .context("`strip` is needed (on Debian and Ubuntu: the package binutils)")?;
        run(command(&binary).arg("man").arg(work.path().join("man")).stdout(std::process::Stdio::null()))?;
        let components = components::of_the_program()?;
        let source =
            components.iter().find(|component| component.id.0 == PROGRAM).map(|component| &component.id.1);
        ensure!(
            source == Some(&version),
            "the program is {version}, but this source is {source:?}: pack it with its own"
        );
        Ok(Self {
            version,
            licenses: licenses::text(&components)?,
            components,
            binary,
            program: fs::read(&stripped).context("failed to read the stripped program")?,
            needs: needs::of(&stripped)?,
            epoch: epoch.map_or_else(last_commit, Ok)?,
            effort,
            work,
        })
    }

    /// An empty folder for work.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.work.path().join(name);
        empty(&folder)?;
        Ok(folder)
    }

    /// The program as a file of a package.
    pub(super) fn program(&self, path: &str) -> File<'_> {
        File::program(path, &self.program)
    }

    /// A document of the repository as a file of a package.
    pub(super) fn document(&self, name: &str, path: &str) -> Result<File<'static>> {
        let bytes = fs::read(root().join(name)).with_context(|| format!("failed to read `{name}`"))?;
        Ok(File::plain(path, bytes))
    }

    /// The licenses and notices of the crates that the program was built from.
    pub(super) fn third_party_licenses(&self, path: &str) -> File<'_> {
        File::plain(path, self.licenses.as_bytes())
    }

    /// The unit for systemd.
    pub(super) fn unit(&self, folder: &str) -> Result<File<'static>> {
        let name = "heddle@.service";
        self.document(&format!("{PACKAGING}/{name}"), &format!("{folder}{name}"))
    }

    /// The man pages, sorted.
    pub(super) fn man_pages(&self, folder: &str) -> Result<Vec<File<'static>>> {
        let mut pages = Vec::new();
        for entry in fs::read_dir(self.work.path().join("man")).context("there are no man pages")? {
            let page = entry.context("failed to list the man pages")?.path();
            let bytes = fs::read(&page).with_context(|| format!("failed to read `{}`", page.display()))?;
            pages.push(File::plain(format!("{folder}{}", super::name(&page)), bytes));
        }
        pages.sort_by(|one, other| one.path.cmp(&other.path));
        ensure!(!pages.is_empty(), "the program wrote no man pages");
        Ok(pages)
    }

    /// Completions for each shell; `folder` says where those of a shell go.
    pub(super) fn completions(&self, folder: impl Fn(&str) -> &'static str) -> Result<Vec<File<'static>>> {
        let program = self.work.path().join("heddle");
        let completions = SHELLS.map(|(shell, name)| {
            let text = output(command(&program).args(["completions", shell]))?;
            Ok(File::plain(format!("{}{name}", folder(shell)), text.into_bytes()))
        });
        completions.into_iter().collect()
    }

    /// A template with its values.
    pub(super) fn template(&self, name: &str, values: &[(&str, &str)]) -> Result<String> {
        let file = root().join(PACKAGING).join(name);
        let text =
            fs::read_to_string(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
        let version = ("version", self.version.as_str());
        let values: Vec<_> = values.iter().copied().chain([version]).collect();
        template::fill(&text, &values).with_context(|| format!("in `{PACKAGING}/{name}`"))
    }

    /// The time in all files, in a form of `date`.
    pub(super) fn date(&self, form: &str) -> Result<String> {
        let text =
            output(command("date").env("LC_ALL", "C").args(["-u", "-d", &format!("@{}", self.epoch), form]))?;
        Ok(text.trim().to_owned())
    }

    /// The time in all files, as RFC 3339 writes it.
    pub(super) fn timestamp(&self) -> Result<String> {
        self.date("+%Y-%m-%dT%H:%M:%SZ")
    }
}

/// When the last commit was made.
pub(super) fn last_commit() -> Result<u64> {
    let text = output(command("git").args(["log", "-1", "--format=%ct"]))
        .context("no repository says when the source was last changed; set SOURCE_DATE_EPOCH or `--epoch`")?;
    text.trim().parse().with_context(|| format!("git answers `{}` instead of a time", text.trim()))
}
