//! The checker's cases for step 8, through a relay: the checker speaks plain
//! TCP, and the relay speaks TLS with our server. The relay is this test
//! program itself, started with the variable `RELAY`. It starts the server and
//! passes signals on.

use std::env;
use std::net::SocketAddr;
use std::process::{self, Command};
use std::time::Duration;

use libtest_mimic::Trial;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::support::{ROOT, bin, signal as send, trial};
use crate::{config, folder, listener, server};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let linux = (!cfg!(target_os = "linux")).then_some("needs Linux");
    vec![trial("relay::the checker's cases of step 8", linux, checked)]
}

/// Some of a hundred; `CONTRACT=all` tries the others, too, in two minutes.
/// Four need a journal. Two can only warn: the relay does not print what the
/// server prints (S3-08), and keeps bytes that the server has let go (S4-24).
const CASES: [&str; 12] = [
    "S4-01", "S4-11", "S4-15", "S5-02", "S6-02", "S6-06", "S7-03", "S8-01",
    "S8-02", "S8-06", "S8-07", "S8-08",
];

fn checked() {
    let build = ["build", "--quiet", "-p", "check", "--bin", "check"];
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(ROOT).args(build);
    if bin("tls").contains("/release/") {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success());
    let me = env::current_exe().unwrap();
    let relay = format!("env {RELAY}={{addr}} {}", me.display());
    let mut check = Command::new(bin("check"));
    check.args(["server", "step8", "--keep-going", "--cmd", &relay]);
    if env::var("CONTRACT").as_deref() != Ok("all") {
        check.args(CASES.iter().flat_map(|case| ["--case", case]));
    }
    let report = check.output().unwrap();
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    let passed = report.lines().filter(|line| line.starts_with('✓')).count();
    let failed = report.lines().any(|line| line.starts_with('✗'));
    assert!(!failed && passed >= CASES.len() - 2, "{report}");
}

/// Where to listen; without it, this is a test program.
pub const RELAY: &str = "RELAY";

/// Relays until it is told to stop, and its server has stopped.
#[tokio::main]
pub async fn run() {
    let folder = folder();
    let (program, to) = server(folder.path(), &[], &[]);
    let tls = TlsConnector::from(config(folder.path()));
    let mut signals = Signals::new();
    let listener = bind();
    println!("listening on {}", listener.local_addr().unwrap());
    let relays = async {
        loop {
            let (client, _) = listener::accept(&listener).await;
            tokio::spawn(relay(client, to, tls.clone()));
        }
    };
    let id = program.id();
    select! {
        () = relays => {}
        name = signals.next() => send(id, name),
    }
    // The server goes on accepting for a tenth of a second.
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(listener);
    tokio::spawn(async move { send(id, signals.next().await) });
    let ended = tokio::task::spawn_blocking(|| program.finish()).await;
    // The last bytes of the server may still be on their way to a client.
    tokio::time::sleep(Duration::from_millis(50)).await;
    process::exit(ended.unwrap().code.unwrap_or(1));
}

fn bind() -> TcpListener {
    let addr = env::var(RELAY).unwrap().parse().unwrap();
    listener::bind(addr).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        process::exit(1);
    })
}

struct Signals(Signal, Signal);

impl Signals {
    fn new() -> Signals {
        let int = signal(SignalKind::interrupt()).unwrap();
        Signals(signal(SignalKind::terminate()).unwrap(), int)
    }

    /// Waits for the next one. Returns its name for `kill`.
    async fn next(&mut self) -> &'static str {
        select! {
            _ = self.0.recv() => "-TERM",
            _ = self.1.recv() => "-INT",
        }
    }
}

async fn relay(mut client: TcpStream, to: SocketAddr, tls: TlsConnector) {
    let _ = client.set_nodelay(true);
    let Ok(server) = TcpStream::connect(to).await else { return };
    let _ = server.set_nodelay(true);
    let name = ServerName::from(to.ip());
    let Ok(mut server) = tls.connect(name, server).await else { return };
    if copy_bidirectional(&mut client, &mut server).await.is_err() {
        // One end was reset, so the other one is, too.
        let _ = client.set_zero_linger();
        let _ = server.get_ref().0.set_zero_linger();
    }
}
