//! What a reader sees, as the book prints it.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use libtest_mimic::Trial;

use crate::support::scene::Scene;
use crate::support::{Program, bin, snapshot, trial};
use crate::{ask, folder, run, run_with, server, steps};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let linux = (!cfg!(target_os = "linux")).then_some("needs Linux");
    vec![
        trial("scenes::the demo", linux, demo),
        trial("scenes::certificates", linux, certificates),
        trial("scenes::it works", linux, works),
        trial("scenes::an unknown issuer", linux, unknown_issuer),
        trial("scenes::a wrong name", linux, wrong_name),
        trial("scenes::an expired certificate", linux, expired),
        trial("scenes::a plain client", linux, plain_client),
        trial("scenes::a plain server", linux, plain_server),
        trial("scenes::an end that somebody made up", linux, cut),
        trial("scenes::bytes that somebody changed", linux, changed),
        trial("scenes::a failure at home", None, at_home),
        trial("scenes::files that are missing or wrong", None, files),
    ]
}

fn demo() {
    let mut scene = Scene::new();
    let demo = Program::start("tls", &[]);
    let text = demo.wait_for("in two terminals");
    let addr = text.split("cannot trust ").nth(1).unwrap();
    let addr = addr.split(": ").next().unwrap().parse().unwrap();
    scene.rename(addr, 8888);
    scene.terminal("the demo", "cargo run -p tls", demo);
    scene.wait_end(0);
    scene.snapshot("tls-demo");
}

/// A scene in a folder of its own.
struct Stage {
    scene: Scene,
    folder: tempfile::TempDir,
}

impl Stage {
    /// With certificates that are there already.
    fn new() -> Stage {
        Stage { scene: Scene::new(), folder: folder() }
    }

    fn server(&mut self, args: &[&str]) -> SocketAddr {
        let (program, addr) = server(self.folder.path(), args, &[]);
        self.scene.rename(addr, 8888);
        let shown = shown(&[&["server"], args].concat());
        self.scene.terminal("the server", &shown, program);
        addr
    }

    /// Runs the client, which is over when this returns.
    fn client(&mut self, addr: SocketAddr, args: &[&str]) {
        let address = addr.to_string();
        let all = [&["client", "--addr", &address], args].concat();
        let one = [("TCP_ATTEMPTS", "1")];
        let program = run_with(self.folder.path(), &all, &one);
        program.wait_end();
        let shown = shown(&[&["client"], args].concat());
        self.scene.terminal("the client", &shown, program);
        self.scene.wait_end(1);
    }

    /// The server is the first terminal and has `last` to say; all others end
    /// by themselves.
    fn finish(mut self, last: &str, name: &str) {
        self.scene.wait_for(0, last, 1);
        self.scene.snapshot(name);
    }
}

fn shown(args: &[&str]) -> String {
    format!("cargo run -p tls -- {}", args.join(" "))
}

fn certificates() {
    let make = || {
        let mut sh = Command::new("sh"); // whatever umask we have ourselves
        sh.args(["-c", "umask 022; exec \"$0\" certificates"]);
        sh.arg(bin("tls"));
        sh
    };
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    let mut type_in = |shown: &str, command: &mut Command| {
        let ended = Program::spawn(command.current_dir(&folder), false);
        let ended = ended.finish();
        let stdout = String::from_utf8(ended.stdout).unwrap();
        text += &format!("$ {shown}\n{stdout}{}", ended.stderr);
    };
    type_in("cargo run -p tls -- certificates", &mut make());
    let mut stat = Command::new("stat");
    let files = ["ca.pem", "server.key", "server.pem"];
    let files = files.map(|file| format!("target/tls/{file}"));
    stat.args(["--format=%A %n"]).args(&files);
    type_in("stat --format='%A %n' target/tls/*", &mut stat);
    type_in("cargo run -p tls -- certificates", &mut make());
    snapshot("tls-certificates", text.trim_end());
}

fn works() {
    let mut stage = Stage::new();
    let addr = stage.server(&[]);
    stage.client(addr, &["hello", "world"]);
    stage.finish("ended after 2 frames", "tls-works");
}

fn unknown_issuer() {
    let mut stage = Stage::new();
    let other = ["certificates", "target/other"];
    let made = run(stage.folder.path(), &other).finish();
    assert_eq!(made.code, Some(0));
    let addr = stage.server(&[]);
    stage.client(addr, &["--ca", "target/other/ca.pem", "hello"]);
    stage.finish("no handshake", "tls-unknown-issuer");
}

fn wrong_name() {
    let mut stage = Stage::new();
    let addr = stage.server(&[]);
    stage.client(addr, &["--name", "bank.example", "hello"]);
    stage.finish("no handshake", "tls-wrong-name");
}

fn expired() {
    let mut stage = Stage::new();
    let old = ["certificates", "target/old", "--days=-1"];
    let made = run(stage.folder.path(), &old).finish();
    assert_eq!(made.code, Some(0));
    let [certificate, key] = ["target/old/server.pem", "target/old/server.key"];
    let addr = stage.server(&["--certificate", certificate, "--key", key]);
    stage.client(addr, &["--ca", "target/old/ca.pem", "hello"]);
    stage.finish("no handshake", "tls-expired");
}

/// Step 8's client takes the alert for a length.
fn plain_client() {
    steps();
    let mut stage = Stage::new();
    let addr = stage.server(&[]);
    let client = Program::client("step8", addr, Some("hello"));
    client.wait_end();
    let shown = "cargo run --bin step8 -- client hello";
    stage.scene.terminal("the client", shown, client);
    stage.scene.wait_end(1);
    stage.finish("no handshake", "tls-plain-client");
}

/// Step 8's server takes the ClientHello for a length.
fn plain_server() {
    steps();
    let mut stage = Stage::new();
    let addr = stage.scene.server("step8");
    stage.client(addr, &["hello"]);
    stage.finish("at most 65536", "tls-plain-server");
}

// ---- Somebody on the road

/// Between a client and a server, with these faults.
fn proxy(to: SocketAddr, faults: &[&str]) -> (Program, SocketAddr) {
    let to = to.to_string();
    let mut command = Command::new(bin("proxy"));
    command.args(["--addr", "127.0.0.1:0", "--to", &to]).args(faults);
    let proxy = Program::spawn(&mut command, true);
    let addr = proxy.addr();
    (proxy, addr)
}

/// How many bytes our client sends up to the end of its first frame.
fn bytes_of_first(folder: &Path) -> u64 {
    let (_server, addr) = server(folder, &[], &[]);
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let via = relay.local_addr().unwrap();
    let count = thread::spawn(move || {
        let (mut client, _) = relay.accept().unwrap();
        let mut server = TcpStream::connect(addr).unwrap();
        let mut ends = [&server, &client].map(|end| end.try_clone().unwrap());
        thread::spawn(move || {
            let [server, client] = &mut ends;
            io::copy(server, client)
        });
        let bytes = io::copy(&mut client, &mut server).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        bytes
    });
    let asked = ask(folder, via, &["one"]);
    assert_eq!(asked.code, Some(0), "{asked:?}");
    count.join().unwrap() - CLOSE_NOTIFY
}

/// A record of 5 bytes, with 2 of an alert, 1 of a type and 16 of a tag.
const CLOSE_NOTIFY: u64 = 24;

/// A client of `server` (8888) asks through a proxy with one fault (9999).
fn through(
    stage: &mut Stage,
    server: SocketAddr,
    fault: &str,
    client: impl FnOnce(&Stage, SocketAddr) -> (Program, String),
) {
    let (proxy, via) = proxy(server, &[fault]);
    stage.scene.rename(via, 9999);
    let (client, shown) = client(stage, via);
    client.wait_end();
    let to = "cargo run --bin proxy -- --to 127.0.0.1:8888";
    stage.scene.terminal("the proxy", &format!("{to} '{fault}'"), proxy);
    stage.scene.terminal("the client", &shown, client);
    stage.scene.wait_end(2);
}

fn tls_client(
    stage: &Stage,
    via: SocketAddr,
    texts: &[&str],
) -> (Program, String) {
    let addr = via.to_string();
    let all = [&["client", "--addr", &addr], texts].concat();
    let one = [("TCP_ATTEMPTS", "1")];
    let program = run_with(stage.folder.path(), &all, &one);
    let shown = shown(&[&["client", "--addr 127.0.0.1:9999"], texts].concat());
    (program, format!("TCP_ATTEMPTS=1 {shown}"))
}

fn plain_client_via(via: SocketAddr, texts: &[&str]) -> (Program, String) {
    let mut command = Command::new(bin("step8"));
    command.args(["client", "--addr", &via.to_string()]).args(texts);
    let program = Program::spawn(command.env("TCP_ATTEMPTS", "1"), false);
    let start = "TCP_ATTEMPTS=1 cargo run --bin step8 -- client";
    let texts = texts.join(" ");
    (program, format!("{start} --addr 127.0.0.1:9999 {texts}"))
}

/// The proxy ends the client's stream after its first message: step 8 sees a
/// client that had no more to say, TLS does not.
fn cut() {
    steps();
    let texts = &["one", "two"];
    let mut stage = Stage::new();
    let addr = stage.scene.server("step8");
    through(&mut stage, addr, "up cut after 8 bytes", |_, via| {
        plain_client_via(via, texts)
    });
    stage.scene.wait_for(1, "cut after", 1);
    stage.finish("ended after 1 frames", "tls-cut-plain");

    let mut stage = Stage::new();
    let bytes = bytes_of_first(stage.folder.path());
    let addr = stage.server(&[]);
    let fault = format!("up cut after {bytes} bytes");
    through(&mut stage, addr, &fault, |stage, via| {
        tls_client(stage, via, texts)
    });
    stage.scene.wait_for(1, "cut after", 1);
    stage.finish("close_notify", "tls-cut");
}

/// The proxy changes a byte in each hundred, so one of each conversation.
fn changed() {
    steps();
    let folder = folder();
    let (server, addr) = server(folder.path(), &[], &[]);
    for way in ["up", "down"] {
        let (_proxy, via) = proxy(addr, &[&format!("{way} corrupt 100")]);
        let asked = ask(folder.path(), via, &["hello"]);
        assert!(asked.stdout.is_empty(), "{asked:?}");
        // In the ClientHello it is anything, since its parts come in any
        // order; in the ServerHello it is in the key, so nothing decrypts.
        let changed = asked.stderr.contains("changed on the way?");
        let may_pass = asked.code == Some(3);
        assert!(way == "up" || changed && may_pass, "{asked:?}");
        assert!(matches!(asked.code, Some(3 | 5 | 6)), "{asked:?}");
    }
    server.wait_for_times("no handshake", 2);
    assert_eq!(ask(folder.path(), addr, &["hello"]).code, Some(0));
}

/// Even then the client says goodbye.
fn at_home() {
    let folder = folder();
    let (server, addr) = server(folder.path(), &[], &[]);
    let asked = ask(folder.path(), addr, &["one", &"x".repeat(66_000)]);
    assert_eq!(asked.code, Some(1), "{asked:?}");
    server.wait_for("ended after 1 frames");
}

// ---- Files

/// A command line, and what its error says.
const WRONG: [(&[&str], &str); 13] = [
    (
        &["server", "--certificate", "none"],
        "cannot read none (make it with: cargo run -p tls -- certificates)",
    ),
    (
        &["server", "--certificate", "empty"],
        "cannot use the certificate: there is no certificate in it",
    ),
    (&["server", "--key", "target/tls/ca.pem"], "cannot use the key"),
    (
        &["server", "--key", "other/server.key"],
        "cannot use this key with this certificate",
    ),
    (&["client", "--ca", "empty", "hi"], "cannot use the CA"),
    (
        &["client", "--ca", "target/tls/server.key", "hi"],
        "cannot use the CA: there is no certificate in it",
    ),
    (&["client", "--name", "a b", "hi"], "neither a DNS name nor"),
    (&["certificates", "new", "--name", "\u{fc}"], "cannot make"),
    (&["certificates", "new", "--name", "a b"], "neither a DNS name nor"),
    (&["certificates", "--days=99999"], "-36500..=36500"),
    (&["certificates"], "is there already (--force?)"),
    (&["client", "--ca", ".", "hi"], "cannot read .: "),
    (&["certificates", "empty/new"], "cannot create the folder"),
];

fn files() {
    let folder = folder();
    let path = folder.path();
    std::fs::write(path.join("empty"), "").unwrap();
    let made = run(path, &["certificates", "other"]).finish();
    assert_eq!(made.code, Some(0));
    for (args, error) in WRONG {
        let ended = run(path, args).finish();
        assert!(matches!(ended.code, Some(1 | 2)), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(error), "{args:?}: {}", ended.stderr);
    }
}
