//! Networks of their own: namespaces of Linux, made and removed by a test.

use std::process::{self, Command};

use super::{Program, bin};

/// The port of every server in a namespace, where ports are always free.
const SERVER: u16 = 8888;

/// A network namespace: a machine with its own loopback, ports and firewall.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one with nothing but loopback, where clients have the ports from
    /// 50001 to `last`.
    pub fn new(name: &str, last: u16) -> Namespace {
        let full_name = format!("tcp-step-by-step-{name}-{}", process::id());
        ip(&["netns", "add", &full_name]);
        let net = Namespace { name: full_name };
        net.shell(&format!("ip link set lo up && {}", ports(50001, last)));
        net
    }

    /// Makes two, joined by a cable: 10.0.0.1 and 10.0.0.2.
    pub fn pair(name: &str) -> [Namespace; 2] {
        let nets =
            [1, 2].map(|n| Namespace::new(&format!("{name}-{n}"), 50001));
        let [a, b] = [&nets[0].name, &nets[1].name].map(String::as_str);
        ip(&[
            "link", "add", "eth0", "netns", a, "type", "veth", //
            "peer", "name", "eth0", "netns", b,
        ]);
        for (net, n) in nets.iter().zip([1, 2]) {
            net.shell(&format!(
                "ip address add 10.0.0.{n}/24 dev eth0 && ip link set eth0 up"
            ));
        }
        nets
    }

    /// Runs a script that must succeed and that no page shows.
    pub fn shell(&self, script: &str) {
        let sh = self.command("sh").args(["-c", script]).status();
        assert!(sh.unwrap().success(), "{script}");
    }

    /// A command that runs in this namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
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

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "delete", &self.name]);
    }
}

/// The command that gives clients these ports, the first and the last.
pub fn ports(first: u16, last: u16) -> String {
    format!("echo {first} {last} > /proc/sys/net/ipv4/ip_local_port_range")
}

fn ip(args: &[&str]) {
    let status = Command::new("ip").args(args).status().unwrap();
    assert!(status.success(), "ip {}", args.join(" "));
}

/// What a namespace needs and this machine has not.
pub fn missing() -> Option<&'static str> {
    if !cfg!(target_os = "linux") {
        return Some("needs Linux");
    }
    let name = format!("tcp-step-by-step-try-{}", process::id());
    let add = Command::new("ip").args(["netns", "add", &name]).output();
    if !add.is_ok_and(|output| output.status.success()) {
        return Some("needs root and ip");
    }
    ip(&["netns", "delete", &name]);
    None
}
