//! The program `heddle-torture`. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    heddle_torture::cli::main()
}
