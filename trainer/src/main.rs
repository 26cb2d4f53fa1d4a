//! The `eigenlet` command.

use std::process::ExitCode;

/// Large tensors come and go with every batch: the system's allocator returns their pages each time, this one does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    eigenlet_trainer::cli::main()
}
