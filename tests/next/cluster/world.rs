//! A Redis of our own, servers in front of it, and frames.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::frame::{self, ERROR, PING};
use crate::ledger::Operation;
use crate::support::{DEADLINE, Program, bin};

/// The settings with which Redis keeps its word.
pub const DURABLE: [&str; 6] =
    ["--appendonly", "yes", "--appendfsync", "always", "--save", ""];

/// Redis as it comes: a snapshot now and then, and no file.
pub const DEFAULTS: [&str; 0] = [];

/// A Redis with a folder of its own, which outlives a kill. It is killed, and
/// the folder goes away, when this value does.
pub struct Redis {
    program: Program,
    pub addr: SocketAddr,
    settings: Vec<String>,
    folder: TempDir,
}

impl Redis {
    /// Starts Redis on a free port. Its port 0 means none, so we try ports
    /// that the kernel gives to nobody by itself, until ours says it is ready.
    pub fn start(settings: &[&str]) -> Redis {
        // In memory, if there is such a place: a kill does not need a disk.
        let shm = Path::new("/dev/shm");
        let temporary = std::env::temp_dir();
        let place = if shm.is_dir() { shm } else { &temporary };
        Redis::start_in(settings, tempfile::tempdir_in(place).unwrap())
    }

    /// The same, with its files in this folder.
    pub fn start_in(settings: &[&str], folder: TempDir) -> Redis {
        let settings: Vec<_> = settings.iter().map(|&s| s.into()).collect();
        loop {
            let addr = low_port();
            if let Some(program) = start(addr, &settings, &folder) {
                return Redis { program, addr, settings, folder };
            }
        }
    }

    pub fn engine(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Asks it with redis-cli, and returns what that prints.
    pub fn cli(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.addr.port().to_string()]).args(words);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// As `kill -9` does.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Starts it again on the same port, with what is in the folder.
    pub fn restart(&mut self) {
        self.kill();
        let end = Instant::now() + DEADLINE;
        self.program = loop {
            match start(self.addr, &self.settings, &self.folder) {
                Some(program) => break program,
                None => assert!(Instant::now() < end, "Redis does not start"),
            }
        };
    }
}

/// An address with a port below those of clients, see ip(7).
pub fn low_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], rand::random_range(20_000..32_000)))
}

/// Starts Redis, and waits until it says that it is ready. None: it has ended,
/// because somebody has this port.
fn start(
    addr: SocketAddr,
    settings: &[String],
    folder: &TempDir,
) -> Option<Program> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &addr.port().to_string()]);
    command.args(["--bind", "127.0.0.1", "--dir"]).arg(folder.path());
    let mut program = Program::spawn(command.args(settings), false);
    let end = Instant::now() + DEADLINE;
    loop {
        let text = String::from_utf8(program.texts().0).unwrap();
        if text.contains("Ready to accept connections") {
            return Some(program);
        }
        if !program.is_running() {
            return None;
        }
        assert!(Instant::now() < end, "Redis is not ready: {text}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Starts a server with this engine, and patience with it: the machine may be
/// busy.
pub fn server_of(engine: &str) -> (Program, SocketAddr) {
    server_within(engine, "60000")
}

/// Starts a server with this engine, and a limit for it in ms.
pub fn server_within(engine: &str, limit: &str) -> (Program, SocketAddr) {
    let mut command = Command::new(bin("cluster"));
    command.args(["server", "--addr", "127.0.0.1:0", "--engine", engine]);
    command.args(["--engine-ms", limit]);
    let program = Program::spawn(&mut command, false);
    let addr = program.addr();
    (program, addr)
}

/// Starts a server at this address, or not: somebody may have the port.
pub fn server_at(engine: &str, addr: SocketAddr) -> Program {
    let mut command = Command::new(bin("cluster"));
    command.args(["server", "--addr", &addr.to_string(), "--engine", engine]);
    Program::spawn(&mut command, false)
}

// ---- Frames

/// The frame of an ADD.
pub fn add(operation: Operation) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(frame::ADD, &operation.to_bytes(), &mut bytes).unwrap();
    bytes
}

/// What came back for one ADD.
#[derive(Debug, PartialEq)]
pub enum Came {
    Total(i64),
    Error(u8, String),
    /// The connection ended instead.
    Nothing,
}

/// A connection of a client that speaks frames itself.
pub struct Peer(pub TcpStream);

impl Peer {
    pub fn new(addr: SocketAddr) -> io::Result<Peer> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Peer(stream))
    }

    pub fn send(&mut self, operations: &[Operation]) -> io::Result<()> {
        let bytes: Vec<_> = operations.iter().map(|&o| add(o)).collect();
        self.0.write_all(&bytes.concat())
    }

    /// The next frame, as it is.
    pub fn frame(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 4];
        self.0.read_exact(&mut bytes)?;
        let length = u32::from_be_bytes(bytes[..].try_into().unwrap());
        bytes.resize(4 + length as usize, 0);
        self.0.read_exact(&mut bytes[4..])?;
        Ok(bytes)
    }

    /// The answer to one ADD.
    pub fn answer(&mut self) -> Came {
        match self.frame() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("neither an answer nor an end")
            }
            Err(_) => Came::Nothing,
            Ok(frame) if frame[4] == PING => self.answer(), // it is patient
            Ok(frame) if frame[4] == ERROR => {
                let text = String::from_utf8(frame[6..].to_vec()).unwrap();
                Came::Error(frame[5], text)
            }
            Ok(frame) => {
                let reply = Operation::from_bytes(&frame[5..]).unwrap();
                Came::Total(reply.amount)
            }
        }
    }

    pub fn ask(&mut self, operation: Operation) -> Came {
        match self.send(&[operation]) {
            Ok(()) => self.answer(),
            Err(_) => Came::Nothing,
        }
    }
}

/// Asks over a new connection.
pub fn ask(addr: SocketAddr, client: u64, seq: u64, amount: i64) -> Came {
    let operation = Operation { client, seq, amount };
    Peer::new(addr).unwrap().ask(operation)
}
