//! How many tests run beside each other, for test programs that list their
//! tests themselves.

use std::env;

use libtest_mimic::Arguments;

/// The command line. Without `--test-threads`, as many tests run at once as
/// `RUST_TEST_THREADS` says, as in any other test program; see
/// `.cargo/config.toml`.
pub fn arguments() -> Arguments {
    let threads = env::var("RUST_TEST_THREADS").ok();
    let threads = threads.and_then(|n| n.parse().ok());
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(threads);
    arguments
}
