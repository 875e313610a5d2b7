//! The program `heddle`. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    heddle::assembly::cli::main()
}
