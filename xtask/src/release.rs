//! `cargo xtask release`: everything that a release of the program consists of, in one folder, from one built binary.
//!
//! Promises that the same binary and the same time give the same bytes of every file but the signatures, which have random parts
//! by design, and the image, which has Debian's latest packages. It publishes nothing and knows no registry: it writes files.

mod archive;
mod chart;
mod components;
mod debian;
mod files;
mod folder;
mod image;
mod inputs;
mod licenses;
mod linters;
mod needs;
mod npm;
mod platform;
mod promise;
mod running;
mod sbom;
mod sdk;
mod server;
mod sign;
mod sums;
mod template;
mod verify;
mod wheel;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::setup::toolchains::Toolchains;
use crate::shell::{Profile, cargo, run as run_command, step, target};
use files::Effort;
use folder::Folder;
use inputs::Inputs;
use linters::Linters;
use needs::Glibc;

/// How it is used.
pub(crate) const EXAMPLES: &str = "\
Examples:
  cargo xtask release                          builds the program, and all files into target/packages
  cargo xtask release --key minisign.key       the same, with a signature for each file
  cargo xtask release --only deb --only wheel  only these
  cargo xtask release --sign --key FILE        signs what is built already
  cargo xtask release --verify                 installs and runs all, and leaves nothing";

/// One kind of package: builds its files in a folder and says which they are.
struct Kind {
    /// Its name on the command line.
    name: &'static str,
    build: fn(&Inputs, &Path) -> Result<Vec<PathBuf>>,
}

/// All kinds, in the order in which they are built.
const KINDS: [Kind; 8] = [
    Kind { name: "archive", build: archive::build },
    Kind { name: "deb", build: debian::build },
    Kind { name: "wheel", build: wheel::build },
    Kind { name: "npm", build: npm::build },
    Kind { name: "sbom", build: sbom::build },
    Kind { name: "sdk", build: sdk::build },
    Kind { name: "image", build: image::build },
    Kind { name: "chart", build: chart::build },
];

/// The time in files that are only tried: any will do.
const TRIAL_EPOCH: u64 = 1_700_000_000;

/// What a release is made of and where it goes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The folder for all files: a new or empty one, or that of an earlier run, whose files are removed [default:
    /// target/packages]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The program to pack [default: it is built with the profile `release`]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// A secret key of minisign, to sign every file with; asks for its password if it has one
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Build nothing: sign what an earlier run has built, if it still has its checksums
    #[arg(long, requires = "key", conflicts_with_all = ["binary", "only", "verify", "epoch"])]
    sign: bool,
    /// Build only packages of this kind; can be given several times
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(KINDS.map(|kind| kind.name)))]
    only: Vec<String>,
    /// Write nothing: build all kinds fast, install and run each, and say which promises hold
    #[arg(long, conflicts_with_all = ["out", "key", "only"])]
    pub(crate) verify: bool,
    /// The time in all files, in seconds since 1970 [default: that of the last commit]
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH")]
    epoch: Option<u64>,
}

impl Options {
    /// The folder for all files.
    fn folder(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| target().join("packages"))
    }

    /// The program that is packed.
    pub(crate) fn program(&self) -> Result<PathBuf> {
        let Some(binary) = &self.binary else { return build_program() };
        // Some of what runs it is in other folders.
        binary.canonicalize().with_context(|| format!("there is no program `{}`", binary.display()))
    }
}

/// Sees that every kind holds what docs/install.md and docs/containers.md say of it.
pub(crate) fn verify(program: &Path, nats_server: &Path, toolchains: Result<Toolchains>) -> Result<()> {
    step("release: packages are built, installed and run");
    let inputs = Inputs::gather(program, Some(TRIAL_EPOCH), Effort::Quick)?;
    let beside = Linters::find_or_install().and_then(|linters| {
        promise::all([image::verify_files(&inputs, &linters, nats_server), chart::verify(&inputs, &linters)])
    });
    promise::all([
        verify::verify(&inputs, nats_server),
        beside,
        image::verify(&inputs, nats_server),
        toolchains.and_then(|toolchains| sdk::verify(&inputs, &toolchains)),
    ])
}

/// Builds the packages and prints what came of it.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let (true, Some(key)) = (options.sign, &options.key) {
        return sign_built(&sign::Key::read(key)?, &options.folder());
    }
    // Before the work, so that a key or a folder that will not do costs no time.
    let key = options.key.as_deref().map(sign::Key::read).transpose()?;
    let folder = Folder::open(&options.folder())?;
    let out = folder.path().to_owned();
    let inputs = Inputs::gather(&options.program()?, options.epoch, Effort::Thorough)?;
    let glibc = inputs.needs.glibc;
    ensure!(
        glibc <= Glibc::PROMISED,
        "the program needs glibc {glibc}, and {} is promised: build it on an older system",
        Glibc::PROMISED
    );
    let wanted = |kind: &str| options.only.is_empty() || options.only.iter().any(|only| only == kind);
    let files = build(&inputs, folder, wanted, key.as_ref())?;
    println!("{}", sums::table(&files)?);
    if let Some(key) = &key {
        println!("{}", key.instructions());
    }
    println!("checksums: (cd {} && sha256sum --check {})", out.display(), sums::NAME);
    Ok(())
}

/// Signs the files of an earlier run, and runs no program of anybody's for it.
fn sign_built(key: &sign::Key, folder: &Path) -> Result<()> {
    let files = sums::listed(folder)?;
    key.sign_all(&files, inputs::last_commit()?)?;
    println!("{}\n{}", sums::table(&files)?, key.instructions());
    Ok(())
}

/// Builds the kinds that are wanted, with checksums and, if there is a key, signatures. All files but those, in the folder that now has
/// them instead of those of an earlier run.
fn build(
    inputs: &Inputs,
    folder: Folder,
    wanted: impl Fn(&str) -> bool,
    key: Option<&sign::Key>,
) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for kind in KINDS.iter().filter(|kind| wanted(kind.name)) {
        step(&format!("package: {}", kind.name));
        let built = (kind.build)(inputs, folder.building());
        files.extend(built.with_context(|| format!("failed to build `{}`", kind.name))?);
    }
    files.push(sums::write(folder.building(), &files)?);
    if let Some(key) = key {
        key.sign_all(&files, inputs.epoch)?;
    }
    let files = files.iter().map(|file| folder.path().join(name(file))).collect();
    folder.replace()?;
    Ok(files)
}

/// Builds the program as users run it.
fn build_program() -> Result<PathBuf> {
    step("the program (10 minutes and more, the first time)");
    run_command(&mut cargo(&["build", "--locked", "--profile", Profile::Release.name(), "-p", "heddle"]))?;
    Ok(Profile::Release.program("heddle"))
}

/// Where the tools of packages are installed.
fn tools_folder() -> PathBuf {
    target().join("packaging")
}

/// A file's name, for messages and lists.
fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
