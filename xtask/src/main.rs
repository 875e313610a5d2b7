//! The chores of this workspace, as `cargo xtask <chore>`. `cargo xtask help` says what there is.
//!
//! It sets up whatever a chore needs on a machine that has Rust and no more, and ends with 0 only if all went
//! well.

mod shell;

mod setup;

mod heddle;

mod languages;

mod demo;

mod bench;

mod torture;

mod release;

mod test;

mod check;

mod tidy;

mod tools;

mod workflows;

mod dependencies;

mod book;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use setup::Needs;
use shell::Profile;

/// The chores of this workspace.
///
/// New here? `cargo xtask demo` shows Heddle at work and `cargo xtask test` runs everything. Both set up what
/// they need (below `target/`, but for the wasm target of the Rust toolchain).
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Run the order saga on a real server, check what it left in the stream, and print the summary.
    ///
    /// Builds host, driver and the three plugins; starts `heddle dev` with an empty data folder below target/demo;
    /// places the orders; waits until each has ended; verifies the stream from its first message to its last;
    /// stops heddle. Ends with 0 only if all holds.
    Demo {
        #[command(flatten)]
        environment: Environment,
        #[command(flatten)]
        size: DemoSize,
    },
    /// Run every test of the workspace, then a small demo, the benchmark with few events, and the packages of a release.
    ///
    /// Arguments behind `--` go to `cargo test`: `cargo xtask test -- -p heddle-flow shard`.
    Test {
        #[command(flatten)]
        environment: Environment,
        #[command(flatten)]
        registry: Registry,
        /// Run only what needs no server, no toolchain and no component: for the inner loop
        #[arg(long, conflicts_with = "arguments")]
        fast: bool,
        /// For `cargo test`
        #[arg(last = true, value_name = "ARGS")]
        arguments: Vec<String>,
    },
    /// Run the simulation over many more worlds than the tests do.
    ///
    /// Every world is told by its seed: several hosts share an application, die, lose shards and come back, and what they
    /// store is held against a reference. It takes about six minutes for each 50,000 worlds on two cores, and ends at the
    /// first one that breaks a promise, whose seed it names.
    Simulate {
        /// How many worlds
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        worlds: u64,
        /// The seed of the first world
        #[arg(long, value_name = "SEED", default_value_t = 0)]
        first: u64,
    },
    /// Measure Heddle against native code and against the server's own limit.
    ///
    /// Starts a server of its own, fills a stream and lets each variant do the same job in turns: read an event,
    /// publish one of equal size, keep a durable counter for each key. Without options it takes about half an hour.
    /// `cargo xtask bench --help` shows the options: `--quick`, `--store disk|ram`, `--only NAME`, `--rounds N`,
    /// `--json FILE`, `--plot`. `cargo xtask bench languages` compares
    /// the languages instead, without a server. What the figures mean stands in docs/performance.md.
    #[command(disable_help_flag = true)]
    Bench {
        #[command(flatten)]
        environment: Environment,
        /// For the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
        options: Vec<String>,
    },
    /// Run a campaign against a running host, and say what it found on one page.
    ///
    /// `swap` replaces a plugin's file 10,000 times under 5,000 events a second, one time in ten by what is no good; it
    /// takes about an hour. `cargo xtask torture swap --help` shows the options: `--swaps N`, `--rate R`, `--bad SHARE`,
    /// `--seed N`, `--disk`. `soak` lets events flow for an hour and sees that memory, descriptors, tasks, instances, consumers
    /// and messages stay level; `--minutes N`, `--rate R`. `mix` lets every mix of good and bad events come to its end: a
    /// matrix of shares, keys and instances with real outages, which takes about half an hour; `--only NAME`, `--events N`,
    /// `--rate R`, `--seed N`.
    /// Small ones are among the tests.
    #[command(disable_help_flag = true)]
    Torture {
        #[command(flatten)]
        environment: Environment,
        /// For the campaign
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
        options: Vec<String>,
    },
    /// Check format, lints, docs, tidiness, workflows, dependencies and the book, without running a test.
    ///
    /// All are run whatever the others say.
    Check {
        /// Run this one only; can be given several times: tidy, format, workflows, dependencies, book, lints, docs
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
    },
    /// Build the documents as a book, below `target/book`.
    ///
    /// Installs mdBook below `target/tools` the first time. `cargo xtask check` builds it, too.
    Book {
        #[command(flatten)]
        options: book::Options,
    },
    /// Install the toolchains of JavaScript, Python, Go and C below `target/toolchains`, and build the guests and examples that
    /// are written in them.
    Languages,
    /// Build everything that a release of the program consists of, into one folder.
    ///
    /// An archive for every Linux, a package for Debian and Ubuntu, a wheel for Python, packages for npm, the SDKs, the
    /// image and the chart, the bill of materials (SBOM) and the checksums, all from one program, and signatures if there
    /// is a key. The same program and the same time give the same bytes of everything but the signatures and the image,
    /// which takes Debian's latest packages. docs/install.md says how each is installed and verified; `cargo xtask test`
    /// does it for real.
    #[command(after_long_help = release::EXAMPLES)]
    Release {
        #[command(flatten)]
        environment: Environment,
        #[command(flatten)]
        options: release::Options,
    },
    /// Set up what the other chores need: wasm target, nats-server, OCI registry, guests.
    Setup {
        #[command(flatten)]
        environment: Environment,
        #[command(flatten)]
        registry: Registry,
    },
}

/// What is taken from the machine.
#[derive(Debug, Args)]
struct Environment {
    /// The nats-server to use [default: the one in PATH, or else one that is installed below target/nats]
    #[arg(long, env = "HEDDLE_NATS_SERVER", value_name = "FILE")]
    nats_server: Option<PathBuf>,
}

/// What else is taken from it where everything is needed.
#[derive(Debug, Args)]
struct Registry {
    /// The OCI registry that tests talk to [default: the docker-registry in PATH, or else one below target/registry]
    #[arg(long, env = "HEDDLE_OCI_REGISTRY", value_name = "FILE")]
    oci_registry: Option<PathBuf>,
}

impl Registry {
    fn and_all_else(&self) -> Needs<'_> {
        Needs::All { oci_registry: self.oci_registry.as_deref() }
    }
}

/// How large a demo is, and what comes after it.
#[derive(Debug, Args)]
struct DemoSize {
    /// How many orders to place.
    #[arg(long, default_value_t = 5_000)]
    orders: u64,
    /// How many customers to spread them over.
    #[arg(long, default_value_t = 500)]
    customers: u64,
    /// Leave the application running after the summary, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<()> {
    match chore {
        Chore::Demo { environment, size } => demo::run(&setup::run(&environment, demo::NEEDS)?, &size),
        Chore::Test { fast: true, .. } => test::fast(),
        Chore::Test { environment, registry, arguments, .. } => {
            test::run(&setup::run(&environment, registry.and_all_else())?, &arguments)
        }
        Chore::Simulate { worlds, first } => test::simulate(worlds, first),
        Chore::Bench { environment, options } => {
            bench::run(&setup::run(&environment, bench::needs(&options))?, &options)
        }
        Chore::Torture { environment, options } => {
            torture::run(&setup::run(&environment, torture::NEEDS)?, &options)
        }
        Chore::Languages => {
            demo::build(Profile::Quick, &["heddle"])?;
            languages::build(Profile::Quick).map(drop)
        }
        Chore::Check { only } => check::run(&only),
        Chore::Book { options } => book::run(&options),
        Chore::Release { environment, options } if options.verify => {
            // The image is tried with the plugins of the demo.
            let machine = setup::run(&environment, demo::NEEDS)?;
            let toolchains = setup::toolchains::find_or_install();
            release::verify(&options.program()?, &machine.nats_server, toolchains)
        }
        Chore::Release { options, .. } => release::run(&options),
        Chore::Setup { environment, registry } => setup::run(&environment, registry.and_all_else()).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
