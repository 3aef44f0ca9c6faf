//! `lab`: see [`lab::main`].

use std::process::ExitCode;

fn main() -> ExitCode {
    lab::main()
}
