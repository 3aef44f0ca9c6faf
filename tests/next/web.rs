//! Tests of `steps/web`: real processes over real sockets.
//!
//!     cargo test -p web --test web
//!
//! The tricks are in `web/tricks.rs`; what needs curl, Python, a browser or a
//! load generator is skipped by name where that is missing.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[path = "../support/mod.rs"]
mod support;
#[path = "web/tricks.rs"]
mod tricks;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use socket2::SockRef;
use tempfile::TempDir;

use support::arguments::arguments;
use support::scene::{Scene, rename_ports};
use support::{
    DEADLINE, Program, ROOT, again, bin, ends, is_installed, signal, snapshot,
    trial, wait_until,
};

fn main() {
    let arguments = arguments();
    let linux = (!cfg!(target_os = "linux")).then_some("needs Linux");
    let unix = (!cfg!(unix)).then_some("needs Unix");
    let mut trials = vec![
        trial("web::the demo", None, demo),
        trial("web::a folder that is not there", None, no_folder),
        trial("web::tricks with the length", None, tricks::lengths),
        trial("web::tricks with the lines", None, tricks::lines),
        trial("web::axum, and half a head", unix, tricks::half_a_head),
        trial("web::a head of 10 MB", linux, endless_head),
        trial("web::a head, line by line", None, slow_head),
        trial("web::a client that does not read", linux, unread),
        trial("web::a refused client hears why", None, refused),
        trial("web::a refusal takes nothing away", linux, owed),
        trial("web::a large file costs no memory", linux, large_file),
        trial("web::full, and slots that come back", None, full),
        trial("web::200 clients that reset", linux, resets),
        trial("web::a stop, and a spare connection", unix, spare),
        trial("web::a stop, and a second signal", unix, second_signal),
        trial("web::a stop while a request arrives", unix, stop_in_request),
    ];
    trials.extend(with_programs(linux));
    libtest_mimic::run(&arguments, trials).exit();
}

/// Tests with clients that others have written.
#[expect(clippy::too_many_lines)] // it is a list
fn with_programs(linux: Option<&'static str>) -> Vec<Trial> {
    let needs = |program, flag, what: &'static str| {
        (!is_installed(program, flag)).then_some(what)
    };
    let curl = needs("curl", "--version", "needs curl");
    let python = needs("python3", "--version", "needs python3");
    let two = python.or(no_protocol()).or(no_netcat());
    let strace = linux.or(needs("strace", "-V", "needs strace"));
    let prlimit = needs("prlimit", "--version", "needs prlimit");
    let h2load = needs("h2load", "--version", "needs h2load");
    // wrk -v prints its version and fails.
    let wrk = Command::new("wrk").arg("-v").output();
    let wrk = wrk.is_err().then_some("needs wrk");
    let modules = Path::new(ROOT).join("tests/browser/node_modules");
    let browser = needs("chromium", "--version", "needs chromium")
        .or(needs("node", "--version", "needs node"))
        .or((!modules.exists()).then_some("needs npm ci in tests/browser"));
    vec![
        trial("web::no descriptor is left", linux.or(prlimit), no_descriptor),
        trial("web::an answer is not held back", strace, no_delay),
        trial("web::curl, two requests", curl, curl_twice),
        trial("web::curl, methods and statuses", curl, curl_statuses),
        trial("web::curl, no way out", curl, no_way_out),
        trial("web::curl, uploads", curl, curl_uploads),
        trial(
            "web::a stop during a download",
            linux.or(curl).or(no_netcat()),
            stop_download,
        ),
        trial("web::Python's http.client", python, python_client),
        trial("web::one request or two", two, one_or_two),
        trial("web::h2load", h2load, load_h2load),
        trial("web::wrk", wrk, load_wrk),
        trial("web::Chromium reads pages", browser, chromium_reads),
        trial(
            "web::Chromium stays, and a stop",
            linux.or(browser),
            chromium_stop,
        ),
    ]
}

/// `python3 -m http.server` can keep a connection since Python 3.11.
fn no_protocol() -> Option<&'static str> {
    let args = ["-m", "http.server", "--help"];
    let help = Command::new("python3").args(args).output().ok()?;
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    (!help.contains("--protocol")).then_some("needs Python 3.11")
}

/// There are several programs of this name.
fn no_netcat() -> Option<&'static str> {
    let help = Command::new("nc").arg("-h").output();
    let is_bsd = help.is_ok_and(|help| {
        String::from_utf8_lossy(&help.stderr).contains("OpenBSD")
    });
    (!is_bsd).then_some("needs netcat-openbsd")
}

// ---- A server and a folder

/// A folder with a few pages, and a server of it.
struct Site {
    folder: TempDir,
    server: Program,
    addr: SocketAddr,
}

/// The files of the folder `pages`; `secret.txt` is beside it.
const FILES: [(&str, &str); 9] = [
    (
        "pages/index.html",
        "<!DOCTYPE html><title>Home</title>\
        <link rel=\"stylesheet\" href=\"css/look.css\">\
        <p id=\"color\">home <a href=\"docs\">docs</a>\
        <script src=\"run.js\"></script>\n",
    ),
    ("pages/hello.txt", "Hello, browser!\n"),
    ("pages/other.txt", "Another page.\n"),
    (
        "pages/docs/index.html",
        "<!DOCTYPE html><title>Docs</title>\
        <p><a href=\"next.html\">next</a>\n",
    ),
    ("pages/docs/next.html", "<!DOCTYPE html><title>Next</title>\n"),
    ("pages/css/look.css", "#color { color: rgb(1, 2, 3) }\n"),
    ("pages/run.js", "document.title += ' runs';\n"),
    ("pages/.env", "SECRET\n"),
    ("secret.txt", "SECRET\n"),
];

impl Site {
    /// The options follow the folder.
    fn new(options: &[&str]) -> Site {
        let folder = Site::files();
        let pages = folder.path().join("pages");
        let mut command = Command::new(bin("web"));
        command.arg(pages).args(["--addr", "127.0.0.1:0"]).args(options);
        let server = Program::spawn(&mut command, false);
        let addr = server.addr();
        Site { folder, server, addr }
    }

    fn files() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in FILES {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    /// Adds a file of that many bytes.
    fn big(&self, size: usize) {
        let path = self.folder.path().join("pages/big");
        fs::write(path, vec![b'x'; size]).unwrap();
    }

    fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.addr)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// Sends `text` and reads to the end, or to a reset.
    fn ask(&self, text: &str) -> String {
        let mut stream = self.connect();
        let _ = stream.write_all(text.as_bytes());
        rest(&mut stream)
    }

    /// Sends a signal, and returns how long the server took to end, and what
    /// it printed.
    fn stop(self, by: &str) -> (Duration, String) {
        let start = Instant::now();
        signal(self.server.id(), by);
        let ended = self.server.finish();
        let text = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(ended.code, Some(0), "{text}");
        (start.elapsed(), text)
    }
}

fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

const HELLO: &str = "GET /hello.txt HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends a request and reads the answer, whose body ends in `!\n`.
fn hello(stream: &mut TcpStream) {
    stream.write_all(HELLO.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"!\n") {
        let mut piece = [0; 1000];
        let n = again(|| stream.read(&mut piece)).unwrap();
        assert!(n > 0, "{:?}", String::from_utf8_lossy(&bytes));
        bytes.extend(&piece[..n]);
    }
}

fn demo() {
    let ended = Program::start("web", &[]).finish();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let text = String::from_utf8(ended.stdout).unwrap();
    let known = |port: u16| (port < 10_000).then_some(port);
    let text = format!("$ cargo run -p web\n{}", rename_ports(&text, known));
    snapshot("web-demo", text.trim_end());
}

fn no_folder() {
    let ended = Program::start("web", &["no/such"]).finish();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot serve the folder no/such: "));
    let ended = Program::start("web", &[".", "--idle-ms", "0"]).finish();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("--idle-ms"), "{}", ended.stderr);
}

// ---- Clients that want too much

/// How much memory a program has, in KiB.
fn resident(program: &Program) -> u64 {
    let path = format!("/proc/{}/status", program.id());
    let status = fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// It hears why, although it goes on sending, and the server keeps nothing.
fn endless_head() {
    let site = Site::new(&[]);
    let before = resident(&site.server);
    let line = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (start, status) in [(line, "431"), ("", "414")] {
        let mut stream = site.connect();
        let mut sender = stream.try_clone().unwrap();
        let all = format!("{start}{}", "x".repeat(10_000_000));
        let send = thread::spawn(move || {
            let _ = sender.write_all(all.as_bytes());
            let _ = sender.shutdown(Shutdown::Write);
        });
        let answer = rest(&mut stream);
        send.join().unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
    let grown = resident(&site.server).saturating_sub(before);
    assert!(grown < 4_000, "{grown} KiB more");
}

// ANCHOR: slow-head
/// A line each tenth of a second is a sign of life, and no excuse.
fn slow_head() {
    let site = Site::new(&["--request-ms", "1000", "--idle-ms", "60000"]);
    let mut stream = site.connect();
    let mut sender = stream.try_clone().unwrap();
    let start = Instant::now();
    let send = thread::spawn(move || {
        sender.write_all(b"GET / HTTP/1.1\r\n")?;
        loop {
            sender.write_all(b"X: 1\r\n")?;
            thread::sleep(Duration::from_millis(100));
        }
        #[expect(unreachable_code)]
        Ok::<(), std::io::Error>(())
    });
    let answer = rest(&mut stream);
    let time = start.elapsed();
    stream.shutdown(Shutdown::Both).ok();
    drop(stream);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(time >= Duration::from_millis(900), "{time:?}");
    send.join().unwrap().unwrap_err();
    site.server.wait_for("408 Request Timeout: the request was not whole");
}
// ANCHOR_END: slow-head

/// It asks for a large file, once or very often, and takes none of it. The
/// kernel must not keep the rest for it either.
fn unread() {
    let site = Site::new(&["--write-ms", "500"]);
    site.big(20_000_000);
    let before = resident(&site.server);
    for (n, times) in [(1, 1), (2, 1000)] {
        let mut stream = site.connect();
        SockRef::from(&stream).set_recv_buffer_size(4096).unwrap();
        let many = HELLO.replace("hello.txt", "big").repeat(times);
        let _ = stream.write_all(many.as_bytes());
        site.server.wait_for_times("a write stood still for too long", n);
        wait_until("a reset", || ends(site.addr).is_empty());
    }
    let grown = resident(&site.server).saturating_sub(before);
    assert!(grown < 8_000, "{grown} KiB more");
}

/// It sends a body that is too large, and reads when it has sent it all. With
/// an RST, it would lose the answer, or get it with an error.
fn refused() {
    let site = Site::new(&[]);
    let mut stream = site.connect();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[b'x'; 500_000]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

/// How many descriptors the server has open.
fn descriptors(site: &Site) -> usize {
    let path = format!("/proc/{}/fd", site.server.id());
    fs::read_dir(path).unwrap().count()
}

/// It asks for a file, breaks a rule, and reads when the server waits no more.
/// The good answer must still be there, and so must the other one.
fn owed() {
    let site = Site::new(&["--write-ms", "60000"]);
    site.big(100_000);
    let before = descriptors(&site);
    let mut stream = site.connect();
    SockRef::from(&stream).set_recv_buffer_size(4096).unwrap();
    let good = HELLO.replace("hello.txt", "big");
    stream.write_all(format!("{good}GET\r\n\r\n").as_bytes()).unwrap();
    site.server.wait_for("400 Bad Request");
    wait_until("the server's close", || descriptors(&site) <= before);
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert!(answers.contains(&"x".repeat(100_000)));
    assert!(
        answers.ends_with("400 Bad Request: the first line is not 3 words\n")
    );
}

fn large_file() {
    let site = Site::new(&[]);
    site.big(200_000_000);
    let before = resident(&site.server);
    let mut stream = site.connect();
    let ask = "GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(ask.as_bytes()).unwrap();
    let mut most = stream.take(300_000_000);
    let n = std::io::copy(&mut most, &mut std::io::sink()).unwrap();
    assert!(n > 200_000_000 && n < 200_001_000, "{n}");
    let grown = resident(&site.server).saturating_sub(before);
    assert!(grown < 8_000, "{grown} KiB more");
}

fn full() {
    let site = Site::new(&["--max-conns", "2"]);
    let mut two = [site.connect(), site.connect()];
    two.iter_mut().for_each(hello);
    let refused = site.ask("");
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    for field in ["Connection: close", "Retry-After: 1"] {
        assert!(refused.contains(&format!("\r\n{field}\r\n")), "{refused}");
    }
    let [first, mut second] = two;
    drop(first);
    site.server.wait_for("ended after 1 requests");
    wait_until("a slot", || {
        let ask = HELLO.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        site.ask(&ask).starts_with("HTTP/1.1 200 ")
    });
    hello(&mut second);
}

fn resets() {
    let site = Site::new(&["--max-conns", "8"]);
    let before = descriptors(&site);
    for n in 0..200 {
        let mut stream = site.connect();
        let bytes = &HELLO.as_bytes()[..n % HELLO.len()];
        let _ = stream.write_all(bytes);
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    wait_until("all descriptors", || descriptors(&site) <= before);
    wait_until("a slot", || {
        let ask = HELLO.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        site.ask(&ask).starts_with("HTTP/1.1 200 ")
    });
}

/// The second piece of a file would wait for the client to acknowledge the
/// first. To measure that is to measure the machine, so we look at the calls.
fn no_delay() {
    let folder = Site::files();
    let trace = folder.path().join("trace");
    let mut command = Command::new("strace");
    // With -D, the server is our child, and strace is the server's.
    command.args(["-D", "-f", "-e", "trace=setsockopt", "-o"]).arg(&trace);
    command.arg(bin("web")).arg(folder.path().join("pages"));
    command.args(["--addr", "127.0.0.1:0"]);
    let server = Program::spawn(&mut command, false);
    hello(&mut TcpStream::connect(server.addr()).unwrap());
    wait_until("TCP_NODELAY", || {
        let calls = fs::read_to_string(&trace);
        calls.is_ok_and(|calls| calls.contains("TCP_NODELAY, [1]"))
    });
}

/// Each answer needs one for its file. Without it, the client hears so, and its
/// connection stays.
fn no_descriptor() {
    let site = Site::new(&[]);
    let mut stream = site.connect();
    hello(&mut stream);
    let limit = |soft: &str| {
        let args = ["--pid", &site.server.id().to_string()];
        let limit = format!("--nofile={soft}:");
        let set = Command::new("prlimit").args(args).arg(limit).status();
        assert!(set.unwrap().success());
    };
    limit("0");
    stream.write_all(HELLO.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 500");
    site.server.wait_for("cannot open /hello.txt: ");
    limit("100");
    let mut rest = Vec::new();
    while !rest.ends_with(b"cannot open it\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        rest.extend(byte);
    }
    hello(&mut stream);
}

// ---- A stop

/// How long a stop may take when nobody asks for anything: a tenth of a second
/// to accept, three to say goodbye, and much more on a busy machine.
const MOMENT: Duration = Duration::from_secs(5);

/// A browser's spare connection sends nothing, another one has been used.
fn spare() {
    let site = Site::new(&[]);
    let mut spare = site.connect();
    let mut used = site.connect();
    hello(&mut used);
    site.server.wait_for_times("connected", 2);
    let addr = site.addr;
    let (time, text) = site.stop("-TERM");
    assert!(time < MOMENT, "{time:?}");
    assert!(text.ends_with("server: stopped, 0 clients cut off\n"), "{text}");
    assert_eq!((rest(&mut spare), rest(&mut used)), Default::default());
    TcpStream::connect(addr).unwrap_err();
}

fn second_signal() {
    let mut site = Site::new(&[]);
    let mut stream = site.connect();
    stream.write_all(b"GET").unwrap();
    site.server.wait_for("connected");
    wait_until("the GET to be read", || support::unread(site.addr) == 0);
    signal(site.server.id(), "-TERM");
    site.server.wait_for("stopping");
    assert!(site.server.is_running());
    signal(site.server.id(), "-INT");
    let ended = site.server.finish();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("stopped at once"));
}

fn stop_in_request() {
    let site = Site::new(&[]);
    let mut stream = site.connect();
    stream.write_all(&HELLO.as_bytes()[..9]).unwrap();
    site.server.wait_for("connected");
    wait_until("the start to be read", || support::unread(site.addr) == 0);
    signal(site.server.id(), "-TERM");
    site.server.wait_for("stopping");
    wait_until("a closed port", || TcpStream::connect(site.addr).is_err());
    stream.write_all(&HELLO.as_bytes()[9..]).unwrap();
    let answer = rest(&mut stream);
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nHello, browser!\n"), "{answer}");
    assert_eq!(site.server.finish().code, Some(0));
}

/// curl loads a file that its kernel cannot hold, slowly, while the server is
/// told to stop.
#[expect(clippy::too_many_lines)] // it is a scene
fn stop_download() {
    let folder = Site::files();
    let pages = folder.path().join("pages");
    let size = 20_000_000;
    fs::write(pages.join("big"), vec![b'x'; size]).unwrap();
    let mut scene = Scene::new();
    let mut command = Command::new(bin("web"));
    command.arg(&pages).args(["--addr", "127.0.0.1:0"]);
    let server = Program::spawn(&mut command, false);
    let addr = server.addr();
    scene.rename(addr, 8888);
    let id = server.id();
    let shown = "head -c 20000000 /dev/zero > /tmp/pages/big\n\
                 $ cargo run -p web -- /tmp/pages";
    scene.terminal("the server", shown, server);
    let mut command = Command::new("nc");
    command.args(["127.0.0.1", &addr.port().to_string()]);
    let spare = Program::spawn(&mut command, true);
    scene.terminal("a spare connection", "nc 127.0.0.1 8888", spare);
    scene.program(0).wait_for("connected"); // before curl
    let file = pages.join("copy");
    let mut command = Command::new("curl");
    command.args(["-s", "--limit-rate", "16M", "-w", "%{size_download}\n"]);
    command.arg("-o").arg(&file).arg(format!("http://{addr}/big"));
    let curl = Program::spawn(&mut command, false);
    let shown = "curl -s --limit-rate 16M -w '%{size_download}\\n' -o /tmp/copy \
                 http://127.0.0.1:8888/big";
    scene.terminal("the client", shown, curl);
    wait_until("a piece", || fs::metadata(&file).is_ok_and(|m| m.len() > 0));
    assert!(scene.program(2).is_running(), "it was too fast");
    scene.program(0).wait_for_times("connected", 2);
    scene.note(0, "", "^C\n");
    signal(id, "-INT");
    scene.wait_end(2);
    scene.wait_end(0);
    scene.stays_silent(1);
    assert_eq!(fs::metadata(&file).unwrap().len(), size as u64);
    scene.snapshot("web-stop");
}

// ---- Clients of others

fn curl(args: &[&str]) -> String {
    let output =
        Command::new("curl").args(["-s", "-m", "20"]).args(args).output();
    let output = output.unwrap();
    assert!(output.status.success(), "curl {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn curl_twice() {
    let site = Site::new(&[]);
    let (hello, docs) = (site.url("/hello.txt"), site.url("/docs/"));
    let text = curl(&[&hello, &docs, "-w", "%{num_connects}\n"]);
    assert!(text.starts_with("Hello, browser!\n1\n"), "{text}");
    assert!(text.ends_with("\n0\n"), "a second connection: {text}");
    site.server.wait_for("ended after 2 requests");
}

/// What curl is told, the target, and the status of the answer.
const REFUSED: [(&[&str], &str, u16); 11] = [
    (&[], "/none", 404),
    (&["-I"], "/none", 404),
    (&[], "/docs", 301),
    (&["-X", "DELETE"], "/", 405),
    (&["-d", "a=b"], "/", 405),
    (&["-X", "MAKE"], "/", 501),
    (&["-X", "OPTIONS"], "/", 200),
    (&["-X", "OPTIONS", "--request-target", "*"], "", 200),
    (&["-H", "Host:"], "/", 400),
    (&["-H", "Host: a b"], "/", 400),
    (&["-H", "Transfer-Encoding: chunked", "-d", "x"], "/", 411),
];

fn curl_statuses() {
    let site = Site::new(&[]);
    let status = |args: &[&str], target: &str| {
        let url = site.url(target);
        let own = ["-o", "/dev/null", "-w", "%{http_code} %{content_type}"];
        curl(&[&own, args, &[&url]].concat())
    };
    let text = "text/plain; charset=utf-8";
    let html = "200 text/html; charset=utf-8";
    assert_eq!(status(&[], "/"), html);
    assert_eq!(status(&["-I"], "/"), html);
    assert_eq!(status(&["-L"], "/docs"), html);
    assert_eq!(status(&["-0"], "/"), html);
    assert_eq!(status(&["-H", "Connection: close"], "/"), html);
    assert_eq!(status(&["--http2"], "/"), html); // asks for an upgrade
    let type_of = status(&[], "/css/look.css");
    assert_eq!(type_of, "200 text/css; charset=utf-8");
    for (args, target, code) in REFUSED {
        assert_eq!(status(args, target), format!("{code} {text}"), "{args:?}");
    }
    let head = curl(&["-I", &site.url("/hello.txt")]);
    assert!(head.contains("Content-Length: 16\r\n"), "{head}");
    let sniff = "X-Content-Type-Options: nosniff\r\n";
    assert!(head.contains(sniff), "{head}");
}

const WAYS_OUT: &str = "
    /../secret.txt /docs/../../secret.txt /%2e%2e/secret.txt
    /%2E%2E%2Fsecret.txt /..%2fsecret.txt /..%5csecret.txt /..\\secret.txt
    /....//secret.txt /..;/secret.txt /%252e%252e/secret.txt
    /%c0%ae%c0%ae/secret.txt /..%c0%afsecret.txt /%u002e%u002e/secret.txt
    /..%00/secret.txt /hello.txt%00.html //../secret.txt /./../secret.txt
    /.env /%2eenv /docs/../.env /C:/secret.txt /c%3a%5csecret.txt /link
    /up/secret.txt /up/ /docs%2f..%2f..%2fsecret.txt //etc/passwd
    /hello.txt/../../secret.txt /?/../../secret.txt/ /%2fetc/passwd
    /file:///etc/passwd /\u{ff0e}\u{ff0e}/secret.txt
    /%ef%bc%8e%ef%bc%8e/secret.txt";

/// Whatever the path, the file beside the folder and the hidden one stay.
fn no_way_out() {
    let site = Site::new(&[]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        let pages = site.folder.path().join("pages");
        symlink("../secret.txt", pages.join("link")).unwrap();
        symlink("..", pages.join("up")).unwrap();
    }
    for target in WAYS_OUT.split_whitespace() {
        let url = site.url(target);
        let text = curl(&["--path-as-is", "-w", "%{http_code}", &url]);
        let is_fine = text.ends_with("404")
            || text.ends_with("400")
            || target.starts_with("/?") && text.contains("home");
        assert!(is_fine && !text.contains("SECRET"), "{target}: {text}");
    }
}

/// A body that is too large: curl hears so, whether it asks first or not.
fn curl_uploads() {
    let site = Site::new(&[]);
    let file = site.folder.path().join("upload");
    let url = site.url("/hello.txt");
    let body = format!("@{}", file.display());
    let get = ["-X", "GET", "--data-binary", &body, "-H"];
    for expect in ["Expect: 100-continue", "Expect:"] {
        let status = ["-o", "/dev/null", "-w", "%{http_code}"];
        fs::write(&file, vec![b'x'; 10_000_000]).unwrap();
        let code = curl(&[&get, &[expect, &url][..], &status].concat());
        assert_eq!(code, "413", "{expect}");
        let twice = [expect, &url, &url, "-w", "%{num_connects}\n"];
        for size in [0, 60_000] {
            fs::write(&file, vec![b'x'; size]).unwrap();
            let text = curl(&[&get, &twice[..]].concat());
            let answers = "Hello, browser!\n1\nHello, browser!\n0\n";
            assert_eq!(text, answers, "{expect} {size}");
        }
    }
}

/// Two pages, and a request that one server takes for one and another for two.
const FILES_AND_REQUEST: [&str; 4] = [
    "mkdir -p /tmp/pages",
    "printf 'Hello, browser!\\n' > /tmp/pages/hello.txt",
    "printf 'Another page.\\n' > /tmp/pages/other.txt",
    r"printf '%s\r\n' \
    'GET /hello.txt HTTP/1.1' 'Host: a' 'Content-Length: 36' '' \
    'GET /other.txt HTTP/1.1' 'Host: a' '' > /tmp/request",
];

/// The body of a GET means nothing, but it is there. Python's server for
/// developers does not look, and takes it for the next request.
#[expect(clippy::too_many_lines)] // it is a scene
fn one_or_two() {
    let site = Site::new(&[]);
    let pages = site.folder.path().join("pages");
    let args = ["-u", "-m", "http.server", "--protocol", "HTTP/1.1"];
    let mut command = Command::new("python3");
    command.args(args).args(["--bind", "127.0.0.1", "0", "-d"]).arg(&pages);
    let python = Program::spawn(&mut command, false);
    let text = python.wait_for("/) ...\n");
    let port = text.split("port ").nth(1).unwrap();
    let port: u16 = port.split(' ').next().unwrap().parse().unwrap();
    let bash = |line: &str| {
        let folder = format!("{}/", site.folder.path().display());
        let mut command = Command::new("bash");
        command.args(["-c", &line.replace("/tmp/", &folder)]);
        let ended = Program::spawn(&mut command, false).finish();
        assert_eq!((ended.code, &ended.stderr[..]), (Some(0), ""), "{line}");
        String::from_utf8(ended.stdout).unwrap()
    };
    let made =
        FILES_AND_REQUEST.map(|line| format!("$ {line}\n{}", bash(line)));
    snapshot("web-request", made.concat().trim_end());
    let mut text = String::new();
    let ask = "nc -N 127.0.0.1 PORT < /tmp/request | grep -v ': '";
    for (what, real, shown) in [
        (
            "python3 -m http.server -d /tmp/pages --protocol HTTP/1.1 8000",
            port,
            8000,
        ),
        ("cargo run -p web -- /tmp/pages", site.addr.port(), 8888),
    ] {
        let command = |port: u16| ask.replace("PORT", &port.to_string());
        text += &format!("# the server: {what}\n$ {}\n", command(shown));
        text += &bash(&command(real)).replace('\r', "");
        text.push('\n');
    }
    snapshot("web-one-or-two", text.trim_end());
}

const PYTHON: &str = r#"
import http.client, sys
host, port = sys.argv[1].split(":")
c = http.client.HTTPConnection(host, int(port), timeout=20)
for n in range(50):
    c.request("GET", "/hello.txt")
    r = c.getresponse()
    assert (r.status, r.read()) == (200, b"Hello, browser!\n"), n
    c.request("HEAD", "/hello.txt")
    r = c.getresponse()
    assert (r.status, r.read(), r.getheader("Content-Length")) == (200, b"", "16")
    c.request("POST", "/", body=b"abc" * n)
    r = c.getresponse()
    assert r.status == 405 and r.read()
    c.request("GET", "/none")
    assert c.getresponse().read() == b"404 Not Found: nothing here\n"
c.request("GET", "/", headers={"Connection": "close"})
r = c.getresponse()
assert r.will_close and b"home" in r.read()
print("fine")
"#;

fn python_client() {
    let site = Site::new(&[]);
    let addr = site.addr.to_string();
    let python = Command::new("python3").args(["-c", PYTHON, &addr]).output();
    let python = python.unwrap();
    assert_eq!(python.stdout, b"fine\n", "{python:?}");
    site.server.wait_for("ended after 201 requests");
}

fn load_h2load() {
    let site = Site::new(&[]);
    let args = ["--h1", "-n", "2000", "-c", "20", "-t", "1"];
    let url = site.url("/hello.txt");
    let output = Command::new("h2load").args(args).arg(url).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let all = "2000 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(text.contains(all), "{text}");
    assert!(text.contains("status codes: 2000 2xx"), "{text}");
}

fn load_wrk() {
    let site = Site::new(&[]);
    let url = site.url("/hello.txt");
    let args = ["-t1", "-c20", "-d1s", "--timeout", "20s"];
    let output = Command::new("wrk").args(args).arg(url).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Requests/sec"), "{text}");
    let is_bad = text.contains("Socket errors") || text.contains("Non-2xx");
    assert!(!is_bad, "{text}");
}

/// A scene of `web/browser.mjs`, which has time limits of its own.
fn chromium(scene: &str, url: &str) -> Command {
    let script = format!("{ROOT}/tests/next/web/browser.mjs");
    let mut command = Command::new("node");
    command.args([&script, scene, url]);
    command
}

fn chromium_reads() {
    let site = Site::new(&[]);
    let ended = chromium("reads", &site.url("/")).output().unwrap();
    assert_eq!(ended.stdout, b"ready\n", "{ended:?}");
    assert!(ended.status.success(), "{ended:?}");
}

/// The browser is there, with the connections that it keeps, when the server
/// stops (rust-lang/book#3545).
fn chromium_stop() {
    let site = Site::new(&[]);
    let mut browser =
        Program::spawn(&mut chromium("stays", &site.url("/")), true);
    // On a busy machine, a browser may take longer than our deadline to start.
    let start = Instant::now();
    while browser.texts().0.is_empty() && start.elapsed() < 4 * DEADLINE {
        assert!(browser.is_running(), "{}", browser.texts().1);
        thread::sleep(Duration::from_millis(20));
    }
    browser.wait_for("ready");
    let kept = ends(site.addr).iter().filter(|end| end.is_server).count();
    assert!(kept >= 1, "it keeps none");
    let (time, text) = site.stop("-TERM");
    assert!(time < MOMENT, "{time:?}");
    assert!(text.ends_with("server: stopped, 0 clients cut off\n"), "{text}");
    assert_eq!(browser.finish().code, Some(0));
}
