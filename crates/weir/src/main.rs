//! The program.

use std::process::ExitCode;

/// Heads of HTTP/2 are made of many small pieces of memory: with the system's allocator these cost a tenth of such a request.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    weir::cli::main()
}
