//! The program `heddle` as it is, but for the places at which `HEDDLE_FAILPOINT` can have it killed.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    heddle::cli::main()
}
