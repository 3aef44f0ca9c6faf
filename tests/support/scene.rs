//! A scene: what a reader types in a few terminals, and what is printed there.

use std::net::SocketAddr;
use std::process::Command;

use regex::{Captures, Regex};

use super::{Program, bin, snapshot};

/// Programs in terminals, run for real. A scene is written down as a reader
/// would see it after typing the commands with the addresses left out:
///
/// - the tests listen on free ports: the server's is printed as its default;
/// - the ports of clients are printed as 50001, 50002, … as they appear;
/// - how long a random wait of a client is, is printed as "…";
/// - a line of more than 110 characters is cut, and ends in "…".
pub struct Scene {
    terminals: Vec<Terminal>,
    servers: Vec<(SocketAddr, u16)>, // the real address, the port to print
}

struct Terminal {
    title: &'static str,
    shown: String,
    program: Program,
    typed: Vec<(usize, String)>, // after that many bytes of output, this line
    more: String,
    is_settled: bool, // is all there that the scene shows of it?
}

impl Terminal {
    /// stdout, with what was typed in its place, then stderr.
    fn printed(&self) -> [String; 2] {
        let (mut stdout, stderr) = self.program.texts();
        for (at, line) in self.typed.iter().rev() {
            stdout.splice(at..at, line.bytes());
        }
        [String::from_utf8_lossy(&stdout).into_owned(), stderr]
    }
}

impl Scene {
    pub fn new() -> Scene {
        Scene { terminals: Vec::new(), servers: Vec::new() }
    }

    /// A server of ours in a new terminal, on a free port printed as 8888.
    pub fn server(&mut self, name: &str) -> SocketAddr {
        let (program, addr) = Program::server(name);
        let shown = match name {
            "threads" => format!("cargo run --bin {name}"),
            _ => format!("cargo run --bin {name} -- server"),
        };
        self.servers.push((addr, 8888));
        self.terminal("the server", &shown, program);
        addr
    }

    /// The same with environment variables, as `NAME=VALUE` before it.
    pub fn server_with(
        &mut self,
        name: &str,
        variables: &[(&str, &str)],
    ) -> SocketAddr {
        let mut command = Command::new(bin(name));
        command.args(["server", "--addr", "127.0.0.1:0"]);
        command.envs(variables.iter().copied());
        let program = Program::spawn(&mut command, false);
        let addr = program.addr();
        let set =
            variables.iter().map(|(name, value)| format!("{name}={value} "));
        let set: String = set.collect();
        self.servers.push((addr, 8888));
        let shown = format!("{set}cargo run --bin {name} -- server");
        self.terminal("the server", &shown, program);
        addr
    }

    /// A client of a step in a new terminal. Without a text it reads stdin,
    /// and `shown` says what the reader types to give it that.
    pub fn client(&mut self, step: &str, text: Option<&str>, shown: &str) {
        let addr = self.servers.last().expect("a server first").0;
        let program = Program::client(step, addr, text);
        self.terminal("the client", shown, program);
    }

    /// The client of a step with one text.
    pub fn ask(&mut self, step: &str, text: &str) {
        let shown = format!("cargo run --bin {step} -- client '{text}'");
        self.client(step, Some(text), &shown);
    }

    /// One of our programs that is neither, in a new terminal.
    pub fn run(&mut self, name: &str, args: &[&str], shown: &str) {
        let mut command = Command::new(bin(name));
        let program = Program::spawn(command.args(args), false);
        self.terminal("the client", shown, program);
    }

    /// Any program, in a new terminal.
    pub fn terminal(
        &mut self,
        title: &'static str,
        shown: &str,
        program: Program,
    ) {
        self.terminals.push(Terminal {
            title,
            shown: shown.to_owned(),
            program,
            typed: Vec::new(),
            more: String::new(),
            is_settled: false,
        });
    }

    /// Says that this server's port is printed as `port`.
    pub fn rename(&mut self, addr: SocketAddr, port: u16) {
        self.servers.push((addr, port));
    }

    /// The program of terminal `index`, counted from 0.
    pub fn program(&mut self, index: usize) -> &mut Program {
        &mut self.terminals[index].program
    }

    /// The number of the newest terminal.
    pub fn last(&self) -> usize {
        self.terminals.len() - 1
    }

    /// Types a line in terminal `index` and waits for `answer`.
    pub fn type_line(&mut self, index: usize, line: &str, answer: &str) {
        let terminal = &mut self.terminals[index];
        let printed = terminal.program.texts().0.len();
        let line = format!("{line}\n");
        terminal.program.write(line.as_bytes());
        terminal.program.wait_for(answer);
        terminal.typed.push((printed, line));
    }

    /// Adds a line that the reader types in terminal `index`, when its program
    /// has printed `after`, and that the shell reads, not the program.
    pub fn note(&mut self, index: usize, after: &str, line: &str) {
        let terminal = &mut self.terminals[index];
        terminal.program.wait_for(after);
        let printed = terminal.program.texts().0.len();
        terminal.typed.push((printed, line.to_owned()));
    }

    /// Adds lines at the end of terminal `index`.
    pub fn add(&mut self, index: usize, lines: String) {
        self.terminals[index].more += &lines;
    }

    /// Waits until the program of terminal `index` has ended by itself.
    pub fn wait_end(&mut self, index: usize) {
        self.terminals[index].program.wait_end();
        self.terminals[index].is_settled = true;
    }

    /// Waits until the program of terminal `index` has printed `part` `n`
    /// times, which is the last that the scene shows of it.
    pub fn wait_for(&mut self, index: usize, part: &str, n: usize) {
        self.terminals[index].program.wait_for_times(part, n);
        self.terminals[index].is_settled = true;
    }

    /// Says that the program of terminal `index` prints nothing (more).
    pub fn stays_silent(&mut self, index: usize) {
        self.terminals[index].is_settled = true;
    }

    /// What stands in the terminals now.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (i, terminal) in self.terminals.iter().enumerate() {
            let shown = &terminal.shown;
            assert!(terminal.is_settled, "wait for what `{shown}` prints");
            if self.terminals.len() > 1 {
                let gap = if i == 0 { "" } else { "\n" };
                let title = terminal.title;
                text += &format!("{gap}# terminal {}: {title}\n", i + 1);
            }
            text += &format!("$ {shown}\n");
            for part in terminal.printed() {
                text += &part;
                if !part.is_empty() && !part.ends_with('\n') {
                    text.push('\n');
                }
            }
            text += &terminal.more;
        }
        cut(&without_waits(&self.ports(&text)))
    }

    pub fn snapshot(self, name: &str) {
        snapshot(name, self.text().trim_end());
    }

    /// Gives all ports in `text` the numbers that the book prints.
    pub fn ports(&self, text: &str) -> String {
        let known = |port: u16| {
            self.servers.iter().find(|(addr, _)| addr.port() == port)
        };
        rename_ports(text, |port| match known(port) {
            Some((_, shown)) => Some(*shown),
            None => (port < 10_000).then_some(port), // typed by the reader
        })
    }
}

/// Gives the ports in `text` other numbers: those that `known` says, and
/// 50001, 50002, … for all others, in the order in which they appear.
pub fn rename_ports(text: &str, known: impl Fn(u16) -> Option<u16>) -> String {
    let mut clients: Vec<u16> = Vec::new();
    let address = Regex::new(r"127\.0\.0\.1:(\d+)").unwrap();
    let renamed = address.replace_all(text, |found: &Captures| {
        let port: u16 = found[1].parse().unwrap();
        let shown = known(port).unwrap_or_else(|| {
            let at = clients.iter().position(|&p| p == port);
            let at = at.unwrap_or_else(|| {
                clients.push(port);
                clients.len() - 1
            });
            50001 + at as u16
        });
        format!("127.0.0.1:{shown}")
    });
    renamed.into_owned()
}

/// Prints "…" where a client says how long a random wait is.
pub fn without_waits(text: &str) -> String {
    let wait = Regex::new(r"\bwaits [0-9.]+(ns|µs|ms|s)").unwrap();
    wait.replace_all(text, "waits …").into_owned()
}

fn cut(text: &str) -> String {
    let mut short = String::new();
    for line in text.lines() {
        if line.chars().count() > 110 {
            short.extend(line.chars().take(109));
            short.push('…');
        } else {
            short += line;
        }
        short.push('\n');
    }
    short
}
