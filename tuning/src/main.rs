//! `twincast-tune`: see `--help`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The servers and hosts of a sweep are this program, started again.
    twincast_loadgen::cli::role().unwrap_or_else(twincast_tune::cli::main)
}
