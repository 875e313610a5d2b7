//! The program `heddle-bench`. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    heddle_bench::cli::main()
}
