//! `check`: see [`check::main`].

use std::process::ExitCode;

fn main() -> ExitCode {
    check::main()
}
