//! The benchmark of the languages: a program of its own, because it runs plugins in this process, with the host's allocator.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    heddle_bench::languages::main()
}
