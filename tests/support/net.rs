//! Networks of the tests' own: namespaces of Linux, and tcpdump in them.

use std::ffi::OsStr;
use std::process::{self, Command};

use super::{Program, bin, is_installed};

/// The port of every server in such a network.
const SERVER: u16 = 8888;

/// A network namespace with nothing but loopback, where ports are always
/// free: the server's is 8888, and the clients' are 50001 and 50002.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    pub fn new(name: &str) -> Namespace {
        let full_name = format!("tcp-step-by-step-{name}-{}", process::id());
        ip(&["netns", "add", &full_name]);
        let net = Namespace { name: full_name };
        // In most, a client has one of two ports; a demo needs some more.
        let last = if name == "step5-retry" { 50010 } else { 50002 };
        net.shell(&format!("ip link set lo up && {}", ports(50001, last)));
        net
    }

    pub fn shell(&self, script: &str) {
        let sh = self.command("sh").args(["-c", script]).status();
        assert!(sh.unwrap().success(), "{script}");
    }

    /// A command that runs in this namespace.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Starts to write the packets of an interface to the file at `path`.
    pub fn tcpdump(
        &self,
        interface: &str,
        path: &str,
        filter: &str,
    ) -> Program {
        let mut tcpdump = self.command("tcpdump");
        tcpdump.args(["-i", interface, "-U", "--immediate-mode"]);
        // Room for 500 packets of any size. The usual room, for 8, is too
        // little for a burst.
        tcpdump.args(["-s", "66000", "-B", "32768"]);
        tcpdump.args(["-Z", "root", "-w", path, filter]);
        let tcpdump = Program::spawn(&mut tcpdump, false);
        tcpdump.wait_for_stderr("listening on");
        tcpdump
    }

    pub fn server(&self, step: &str) -> Program {
        let server =
            Program::spawn(self.command(bin(step)).arg("server"), false);
        assert_eq!(server.addr().port(), SERVER);
        server
    }

    pub fn client(&self, step: &str, text: &str) -> Program {
        let mut client = self.command(bin(step));
        Program::spawn(client.args(["client", text]), false)
    }

    pub fn typing_client(&self, step: &str) -> Program {
        Program::spawn(self.command(bin(step)).arg("client"), true)
    }
}

/// The command that gives clients these ports, the first and the last.
pub fn ports(first: u16, last: u16) -> String {
    format!("echo {first} {last} > /proc/sys/net/ipv4/ip_local_port_range")
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "delete", &self.name]);
    }
}

pub fn ip(args: &[&str]) {
    let status = Command::new("ip").args(args).status().unwrap();
    assert!(status.success(), "ip {}", args.join(" "));
}

/// What a capture needs and this machine has not.
pub fn missing() -> Option<&'static str> {
    if !cfg!(target_os = "linux") {
        return Some("needs Linux");
    }
    if !is_installed("tcpdump", "--version") {
        return Some("needs tcpdump");
    }
    let name = format!("tcp-step-by-step-try-{}", process::id());
    let add = Command::new("ip").args(["netns", "add", &name]).output();
    if !add.is_ok_and(|output| output.status.success()) {
        return Some("needs root and ip");
    }
    ip(&["netns", "delete", &name]);
    None
}
