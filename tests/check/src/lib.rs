//! The checker: it tries a learner's own server or client, in any language,
//! as a hostile network would, and says which rule of the contract the program
//! breaks, what the checker sent, what came back, what that usually means, and
//! where to look.
//!
//!     cargo run -p check -- server step4 --cmd 'python3 server.py {addr}'
//!     cargo run -p check -- client step4 --cmd './client {addr} {text}'
//!
//! Another test program can use it in its own process: a [`Session`] tries one
//! program, and `cases` lists what to try.
//!
//! ```ignore
//! let session = Session::new(Side::Server, 4, "./server {addr}")?.seed(7);
//! for case in check::cases::of(Side::Server, 4) {
//!     let verdict = session.judge(case);
//!     assert_eq!(verdict.name(), "pass", "{}", session.report(case, &verdict));
//! }
//! ```

#[cfg(not(unix))]
compile_error!(
    "check needs Linux or macOS. On Windows, install WSL (wsl --install) and \
     run it there, together with the program that it is to try"
);

mod case;
pub mod cases;
mod cli;
mod diagnosis;
mod harness;
mod interop;
mod os;
mod program;
mod report;
mod run;
mod session;
mod steps;
mod traits;
mod verdict;
mod wire;

pub use case::{Case, Proof};
pub use cli::main;
pub use harness::machine::Machine;
pub use report::Obstacle;
pub use session::Session;
pub use steps::LAST_STEP;
pub use traits::{Hint, Side, Tag};
pub use verdict::{Failure, Verdict};
