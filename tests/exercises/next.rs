//! The exercises of the chapters *UDP* and *TLS*.

use std::env::consts::OS;
use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use regex::Regex;
use tempfile::TempDir;

use super::copy::{Solved, keep, print};
use super::support::scene::Scene;
use super::support::{Program, ROOT, is_installed, signal, trial, wait_until};

pub fn trials() -> Vec<Trial> {
    let python = !is_installed("python3", "--version");
    let python = python.then_some("needs python3");
    let ss = (OS != "linux" || !is_installed("ss", "-V"))
        .then_some("needs ss of Linux");
    vec![
        trial("udp::half_a_datagram_is_lost", python, udp_halves),
        trial("udp::a_buffer_that_is_too_small", None, udp_room),
        trial("udp::as_patient_as_the_road", None, udp_build),
        trial("udp::what_did_not_fit", ss, udp_measure),
        trial("tls::encrypted_for_anybody", python, tls_believer),
        trial("tls::a_length_that_is_text", None, tls_http),
        trial("tls::a_write_that_has_not_left", None, tls_write),
        trial("tls::a_certificate_without_its_key", None, tls_stolen),
        trial("tls::a_client_with_a_certificate", None, tls_build),
        trial("tls::a_record_of_tickets", python, tls_tickets),
    ]
}

/// Builds a program that is a package of its own, and returns where it is: in
/// a folder of its own, because the next solution builds another one.
pub fn built(solved: &Solved, name: &str) -> (TempDir, String) {
    solved.run(&format!("cargo build -p {name}")).succeeds();
    keep(name)
}

// ---- UDP

fn udp_halves() {
    let ran =
        Solved::with("").run("python3 tests/exercises/halves.py").succeeds();
    print("udp-halves", &ran.shown(&["SOCK_STREAM", "SOCK_DGRAM"]));
}

fn udp_room() {
    let line = "cargo run -q -p udp; echo \"exit code $?\"";
    let ran = Solved::with("udp-room").run(line).succeeds();
    let lines: Vec<&str> = ran.text.lines().collect();
    let [start, end] = [&lines[..7], &lines[lines.len() - 2..]];
    let shown = format!("{}\n…\n{}", start.join("\n"), end.join("\n"));
    print("udp-room", &format!("$ {line}\n{shown}"));
}

fn udp_build() {
    let solved = Solved::with("udp-build");
    let tested = solved.run("cargo test -p udp --bin udp").succeeds();
    let played = solved.run("cargo run -q -p udp").succeeds();
    let shown = tested.shown(&["trip::", "test result"])
        + "\n"
        + &played.shown(&["within", "total is"]);
    print("udp-build", &shown);
}

fn udp_measure() {
    let (_own, udp) = built(&Solved::with(""), "udp");
    let mut command = Command::new(udp);
    command.args(["server", "--verbose", "--addr", "127.0.0.1:0"]);
    let server = Program::spawn(&mut command, false);
    let port = server.addr().port();
    signal(server.id(), "-STOP");
    let flood = format!(
        "for i in {{1..1000}}; do printf '%1200d' 0 > \
         /dev/udp/127.0.0.1/{port}; done; ss -lunmH 'sport = :{port}'"
    );
    let sent = Command::new("bash").args(["-c", &flood]).output().unwrap();
    assert!(sent.status.success() && sent.stderr.is_empty(), "{sent:?}");
    let told = String::from_utf8(sent.stdout).unwrap();
    let dropped = told.split(",d").nth(1).and_then(|d| d.split(')').next());
    let dropped: usize = dropped.unwrap().parse().unwrap();
    assert!((1..1000).contains(&dropped), "{told}");
    signal(server.id(), "-CONT");
    let line = "drops 1200 bytes";
    let lines = || {
        let text = String::from_utf8(server.texts().0).unwrap();
        text.matches(line).count()
    };
    wait_until("what has fitted", || lines() + dropped >= 1000);
    assert_eq!(lines() + dropped, 1000);
    let text = "… times “server: drops 1200 bytes: not a frame”\n\
        $ ss -lunm 'sport = :8888'\n… skmem:(…,d…)\nboth together: 1000";
    print("udp-measure", text);
}

// ---- TLS

/// The program, in a folder in which it has made certificates: its own, and
/// others in `target/other`.
struct Tls {
    folder: TempDir,
    path: String,
}

const OTHER: [&str; 4] = [
    "--certificate",
    "target/other/server.pem",
    "--key",
    "target/other/server.key",
];

impl Tls {
    fn with(patch: &str) -> Tls {
        let (folder, path) = built(&Solved::with(patch), "tls");
        let tls = Tls { folder, path };
        for made in [&["certificates"][..], &["certificates", "target/other"]] {
            assert_eq!(tls.start(made).finish().code, Some(0));
        }
        tls
    }

    fn start(&self, args: &[&str]) -> Program {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.folder).args(args);
        Program::spawn(command.env("TCP_ATTEMPTS", "1"), false)
    }

    /// A server in a new terminal, printed with port 8888.
    fn server(&self, scene: &mut Scene, title: &'static str, args: &[&str]) {
        let all = [&["server", "--addr", "127.0.0.1:0"], args].concat();
        let server = self.start(&all);
        let addr = server.addr();
        scene.rename(addr, 8888);
        let shown = format!("cargo run -p tls -- server {}", args.join(" "));
        scene.terminal(title, shown.trim_end(), server);
    }

    /// A client of the server in the first terminal, and its exit code.
    fn client(&self, scene: &mut Scene, args: &str) {
        let addr = scene.program(0).addr().to_string();
        let line = |program: &str, gap: &str| {
            format!("{program} {args}{gap} hello; echo \"exit code $?\"")
        };
        let real = line(&format!("{} client --addr {addr}", self.path), "");
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("exec 2>&1; {real}")]);
        bash.current_dir(&self.folder).env("TCP_ATTEMPTS", "1");
        let gap = if args.is_empty() { "" } else { " \\\n   " };
        let shown = line("cargo run -p tls -- client", gap);
        let shown = shown.replace("  hello", " hello");
        scene.terminal("the client", &shown, Program::spawn(&mut bash, false));
        scene.wait_end(scene.last());
    }
}

/// A Python program that asks the server in the first terminal.
fn python(scene: &mut Scene, title: &'static str, file: &str) {
    let addr = scene.program(0).addr().to_string();
    let mut python = Command::new("python3");
    let path = Path::new(ROOT).join(file);
    let program = Program::spawn(python.arg(path).arg(addr), false);
    scene.terminal(title, &format!("python3 {file} 127.0.0.1:8888"), program);
    scene.wait_end(scene.last());
}

fn tls_believer() {
    let tls = Tls::with("");
    let mut scene = Scene::new();
    tls.server(&mut scene, "the laptop", &OTHER);
    python(&mut scene, "the customer", "tests/exercises/believer.py");
    scene.wait_for(0, "ended after 1 frames", 1);
    print("tls-believer", &scene.text());
}

fn tls_http() {
    let (_web, web) = built(&Solved::with(""), "web");
    let (_step8, step8) = Solved::with("").program("step8");
    let pages = TempDir::new().unwrap();
    let mut server = Command::new(web);
    server.arg(pages.path()).args(["--addr", "127.0.0.1:0"]);
    let server = Program::spawn(&mut server, false);
    let addr = server.wait_for("open http");
    let addr = addr.split([' ', ',']).nth(2).unwrap().to_owned();
    let mut client = Command::new(step8);
    client.args(["client", "--addr", &addr, "hello\n"]);
    let ended = Program::spawn(&mut client, false).finish();
    let shown = "$ cargo run --bin step8 -- client $'hello\\n'\n";
    print("tls-http", &format!("{shown}{}", ended.stderr));
}

fn tls_write() {
    let line = "cargo test -p tls --bin tls stream -- --test-threads=1";
    let tested = Solved::with("tls-write").run(line).fails();
    let shown = ["... FAILED", "value: Elapsed", "sign of life", "test result"];
    print("tls-write", &tested.shown(&shown));
}

fn tls_stolen() {
    let stolen = [&["target/tls/server.pem"], &OTHER[3..]].concat();
    let args = [&OTHER[..1], &stolen[..1], &OTHER[2..3], &stolen[1..]].concat();
    let shown = format!("cargo run -p tls -- server {}", args.join(" "));
    let tls = Tls::with("");
    let refused = tls.start(&[&["server"], &args[..]].concat()).finish();
    assert_eq!(refused.code, Some(1));
    let title = "# terminal 1: our server";
    let start = format!("{title}\n$ {shown}\n{}\n", refused.stderr);

    let tls = Tls::with("tls-stolen");
    let mut scene = Scene::new();
    tls.server(&mut scene, "a server that does not look", &args);
    tls.client(&mut scene, "");
    scene.wait_for(0, "no handshake", 1);
    let text = scene.text().replace("# terminal 2", "# terminal 3");
    let text = text.replace("# terminal 1", "# terminal 2");
    print("tls-stolen", &(start + &text));
}

fn tls_build() {
    let old = Tls::with(""); // its certificates are for servers only
    let tls = Tls::with("tls-build");
    let target = tls.folder.path().join("target");
    let before = old.folder.path().join("target/other");
    fs::rename(before, target.join("before")).unwrap();
    let cas = ["other/ca.pem", "before/ca.pem"]
        .map(|name| fs::read(target.join(name)).unwrap());
    fs::write(target.join("clients.pem"), cas.concat()).unwrap();
    let mut scene = Scene::new();
    tls.server(&mut scene, "the server", &["--clients", "target/clients.pem"]);
    tls.client(&mut scene, "");
    scene.wait_for(0, "no handshake", 1);
    let other = OTHER.join(" ");
    tls.client(&mut scene, &other.replace("other", "before"));
    scene.wait_for(0, "no handshake", 2);
    tls.client(&mut scene, &other);
    scene.wait_for(0, "ended after 1 frames", 1);
    print("tls-build", &scene.text());
}

fn tls_tickets() {
    let signed = Regex::new(r"5[89]\d bytes").unwrap();
    let mut shown = String::new();
    for patch in ["", "tls-tickets"] {
        let tls = Tls::with(patch);
        let mut scene = Scene::new();
        tls.server(&mut scene, "the server", &[]);
        python(&mut scene, "a client", "tests/exercises/records.py");
        scene.stays_silent(0);
        let text = scene.text();
        let at = text.find("$ python3").unwrap();
        shown += &signed.replace(&text[at..], "5.. bytes");
        shown.push('\n');
    }
    assert_eq!(shown.matches("184 bytes").count(), 1, "{shown}");
    print("tls-tickets", &shown);
}
