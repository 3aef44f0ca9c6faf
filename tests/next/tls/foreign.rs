//! Ends that are not ours: openssl and Python.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;

use crate::support::{Program, is_installed, trial};
use crate::{ask, folder, server};

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let openssl =
        (!is_installed("openssl", "version")).then_some("needs openssl");
    let python =
        (!is_installed("python3", "--version")).then_some("needs python3");
    vec![
        trial("foreign::openssl asks", openssl, openssl_asks),
        trial("foreign::older versions are refused", openssl, old_versions),
        trial("foreign::no cipher in common", openssl, no_common),
        trial("foreign::openssl answers", openssl, openssl_answers),
        trial("foreign::certificates by openssl", openssl, by_openssl),
        trial("foreign::python asks", python, python_asks),
        trial("foreign::python does not trust", python, python_trusts),
    ]
}

fn s_client(folder: &Path, addr: SocketAddr, args: &[&str]) -> Program {
    let mut command = Command::new("openssl");
    let addr = addr.to_string();
    let start = ["s_client", "-connect", &addr, "-CAfile", "target/tls/ca.pem"];
    let more = ["-verify_return_error", "-quiet", "-no_ign_eof"];
    command.current_dir(folder).args(start).args(more).args(args);
    Program::spawn(&mut command, true)
}

/// It checks our certificate by its own rules, and by the name.
fn openssl_asks() {
    let folder = folder();
    let (server, addr) = server(folder.path(), &[], &[]);
    let name = ["-verify_hostname", "localhost"];
    let mut client = s_client(folder.path(), addr, &name);
    client.write(b"\0\0\0\x03\x01hi");
    client.wait_for("\0\0\0\x03");
    client.wait_for("hi");
    client.end_input();
    server.wait_for("ended after 1 frames");
    let name = ["-verify_hostname", "bank.example"];
    let client = s_client(folder.path(), addr, &name);
    client.wait_for_stderr("hostname mismatch");
}

/// TLS 1.0 and 1.1 are dead (RFC 8996); 1.2 we do not need. In none of them
/// our server gets to a renegotiation, and TLS 1.3 has none.
fn old_versions() {
    let folder = folder();
    let (server, addr) = server(folder.path(), &[], &[]);
    for (n, version) in ["-tls1", "-tls1_1", "-tls1_2"].iter().enumerate() {
        let weak = ["-cipher", "DEFAULT@SECLEVEL=0", version];
        let client = s_client(folder.path(), addr, &weak);
        client.wait_for_stderr(" alert ");
        server.wait_for_times("offers too little for TLS 1.3", n + 1);
    }
    assert_eq!(ask(folder.path(), addr, &["hello"]).code, Some(0));
}

fn no_common() {
    let folder = folder();
    let (server, addr) = server(folder.path(), &[], &[]);
    let ciphers = ["-ciphersuites", "TLS_AES_128_CCM_SHA256"];
    let client = s_client(folder.path(), addr, &ciphers);
    client.wait_for_stderr("alert handshake failure");
    server.wait_for("offers too little");
    let groups = ["-groups", "P-521"];
    let client = s_client(folder.path(), addr, &groups);
    client.wait_for_stderr("alert handshake failure");
    server.wait_for_times("offers too little", 2);
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A server that knows only TLS 1.2: our client says so, and does not insist.
fn openssl_answers() {
    let folder = folder();
    let port = free_port().to_string();
    let mut command = Command::new("openssl");
    let files =
        ["-cert", "target/tls/server.pem", "-key", "target/tls/server.key"];
    command.current_dir(&folder).args(["s_server", "-accept", &port]);
    let old = Program::spawn(command.args(files).arg("-tls1_2"), true);
    old.wait_for("ACCEPT");
    let addr = format!("127.0.0.1:{port}").parse().unwrap();
    let asked = ask(folder.path(), addr, &["hello"]);
    assert_eq!(asked.code, Some(6), "{asked:?}");
    assert!(asked.stderr.contains("ProtocolVersion"), "{}", asked.stderr);
}

/// A CA that is its own server, and a certificate that names nobody.
const BY_OPENSSL: &str = "\
    key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x'
    openssl req -x509 $key -keyout ca.key -out ca.pem -days 5 \
        -addext subjectAltName=IP:127.0.0.1 &&
    openssl req $key -keyout none.key -out none.csr &&
    echo basicConstraints=CA:FALSE > none.ext &&
    openssl x509 -req -in none.csr -CA ca.pem -CAkey ca.key \
        -CAcreateserial -days 5 -extfile none.ext -out none.pem";

fn by_openssl() {
    let folder = folder();
    let mut sh = Command::new("sh");
    sh.current_dir(&folder).args(["-c", BY_OPENSSL]);
    let made = Program::spawn(&mut sh, false).finish();
    assert_eq!(made.code, Some(0), "{made:?}");
    for (name, error) in [("ca", "a CA's"), ("none", "names nobody")] {
        let [pem, key] = ["pem", "key"].map(|end| format!("{name}.{end}"));
        let files = ["--certificate", &pem, "--key", &key];
        let (_server, addr) = server(folder.path(), &files, &[]);
        let asked = ask(folder.path(), addr, &["--ca", "ca.pem", "hi"]);
        assert_eq!(asked.code, Some(6), "{asked:?}");
        assert!(asked.stderr.contains(error), "{}", asked.stderr);
    }
}

/// Starts Python, which connects to `addr` and knows the CAs in `ca`.
fn python(folder: &Path, addr: SocketAddr, ca: &str, script: &str) -> Program {
    let port = addr.port();
    let script = format!(
        "import socket, ssl\n\
         context = ssl.create_default_context(cafile={ca})\n\
         tcp = socket.create_connection(('127.0.0.1', {port}), 10)\n\
         {script}"
    );
    let mut command = Command::new("python3");
    command.current_dir(folder).args(["-c", &script]);
    Program::spawn(&mut command, false)
}

const OURS: &str = "'target/tls/ca.pem'";

const ASK: &str = "\
    tls = context.wrap_socket(tcp, server_hostname='localhost')\n\
    tls.sendall(b'\\0\\0\\0\\3\\1hi')\n\
    print(tls.recv(100), tls.version())\n";

fn python_asks() {
    let folder = folder();
    let (server, addr) = server(folder.path(), &[], &[]);
    let script = format!("{ASK}tls.unwrap()\n");
    let ended = python(folder.path(), addr, OURS, &script).finish();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let text = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(text.trim(), r"b'\x00\x00\x00\x03\x81hi' TLSv1.3");
    server.wait_for("ended after 1 frames");
    // Python's `close` sends no close_notify.
    let script = format!("{ASK}tls.close()\n");
    let ended = python(folder.path(), addr, OURS, &script).finish();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    server.wait_for("an end without close_notify");
}

/// The CAs that its system knows have not signed our certificate.
fn python_trusts() {
    let folder = folder();
    let (server, addr) = server(folder.path(), &[], &[]);
    let ended = python(folder.path(), addr, "None", ASK).finish();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("CERTIFICATE_VERIFY_FAILED"));
    server.wait_for("UnknownCA");
}
