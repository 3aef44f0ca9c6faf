//! Tests of `steps/tls`: real processes over real sockets.
//!
//! What needs openssl, Python, tcpdump or Linux is skipped by name. The steps
//! that stand beside it (step 2, step 8, the proxy) are built when a test first
//! wants them.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[path = "tls/attacks.rs"]
mod attacks;
#[allow(unused)] // its own tests are compiled here, and not run
#[path = "../../steps/tls/certificates.rs"]
mod certificates;
#[path = "tls/foreign.rs"]
mod foreign;
#[path = "../../steps/step8/listener.rs"]
mod listener;
#[cfg(unix)]
#[path = "tls/relay.rs"]
mod relay;
#[path = "tls/scenes.rs"]
mod scenes;
#[path = "../support/mod.rs"]
mod support;
#[path = "tls/wire.rs"]
mod wire;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use support::arguments::arguments;
use support::{Program, ROOT, bin};
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

fn main() {
    #[cfg(unix)]
    if std::env::var_os(relay::RELAY).is_some() {
        return relay::run();
    }
    let arguments = arguments();
    let mut trials = attacks::trials();
    #[cfg(unix)]
    trials.extend(relay::trials());
    trials.extend(foreign::trials());
    trials.extend(scenes::trials());
    trials.extend(wire::trials());
    libtest_mimic::run(&arguments, trials).exit();
}

/// Prints a line, for `listener.rs`.
fn say(line: impl std::fmt::Display) {
    println!("{line}");
}

/// A folder with certificates in `target/tls`, where our programs look.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = run(folder.path(), &["certificates"]).finish();
    assert_eq!(made.code, Some(0), "{made:?}");
    folder
}

/// What a client of the tests' own believes: the CA in `folder`.
pub fn config(folder: &Path) -> Arc<ClientConfig> {
    let ca = CertificateDer::from_pem_file(folder.join("target/tls/ca.pem"));
    let mut roots = RootCertStore::empty();
    roots.add(ca.unwrap()).unwrap();
    let provider = Arc::new(default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// Starts our program in `folder`.
pub fn run(folder: &Path, args: &[&str]) -> Program {
    run_with(folder, args, &[])
}

/// The same with environment variables.
pub fn run_with(
    folder: &Path,
    args: &[&str],
    variables: &[(&str, &str)],
) -> Program {
    let mut command = Command::new(bin("tls"));
    command.current_dir(folder).args(args);
    command.envs(variables.iter().copied());
    Program::spawn(&mut command, false)
}

/// Starts our server in `folder`, on a free port, and waits until it listens.
pub fn server(
    folder: &Path,
    args: &[&str],
    variables: &[(&str, &str)],
) -> (Program, SocketAddr) {
    let args = [&["server", "--addr", "127.0.0.1:0"], args].concat();
    let program = run_with(folder, &args, variables);
    let addr = program.addr();
    (program, addr)
}

/// Runs our client to its end.
pub fn ask(folder: &Path, addr: SocketAddr, args: &[&str]) -> support::Ended {
    let addr = addr.to_string();
    let args = [&["client", "--addr", &addr], args].concat();
    run_with(folder, &args, &[("TCP_ATTEMPTS", "1")]).finish()
}

/// Builds the programs of the steps that some tests put beside ours.
pub fn steps() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(ROOT).args(["build", "--quiet"]);
        if bin("tls").contains("/release/") {
            cargo.arg("--release");
        }
        for name in ["step2", "step8", "proxy"] {
            cargo.args(["--bin", name]);
        }
        assert!(cargo.status().unwrap().success(), "{cargo:?}");
    });
}
