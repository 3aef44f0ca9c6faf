//! Has the server come up? If not, why not, as far as one can see.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::diagnosis::show;
use crate::os;
use crate::program::proc;
use crate::program::running::{Program, describe};

/// How long a program may take until it says that it listens.
const START: Duration = Duration::from_secs(10);

/// A program that listens and does not say so within this time will not.
const SILENT: Duration = Duration::from_secs(3);

const FIRST_WORDS: &str = "listening on ";

/// What kept a server from coming up: in a few sentences, a line each.
pub type Trouble = Vec<String>;

/// Waits until the server says where it listens.
///
/// # Errors
/// It ended, said something else, or said nothing in time.
pub fn wait_ready(
    program: &mut Program,
    asked: SocketAddr,
) -> Result<SocketAddr, Trouble> {
    let start = Instant::now();
    loop {
        if let Some(line) = program.out.first_line(Duration::from_millis(50)) {
            return read_address(&line, asked);
        }
        if program.ended().is_some() {
            program.wait_output();
            if let Some(line) = program.out.first_line(Duration::ZERO) {
                return read_address(&line, asked);
            }
            return Err(ended_early(program));
        }
        if start.elapsed() > SILENT {
            silent(program)?;
        }
        if start.elapsed() > START {
            return Err(vec![
                "It printed no line on stdout within 10 s.".into(),
                "The first line must be `listening on IP:PORT`, and flushed."
                    .into(),
            ]);
        }
    }
}

/// The classic: the line is there, but still in the program's own buffer.
fn silent(program: &Program) -> Result<(), Trouble> {
    if proc::listening(&program.pids()).is_empty() {
        return Ok(());
    }
    Err(vec![
        "It listens, but printed no line on stdout.".into(),
        "Is the line still in a buffer? Into a pipe, most languages do not \
         write a line at once: flush stdout after it."
            .into(),
    ])
}

fn ended_early(program: &mut Program) -> Trouble {
    let status = program.ended().map(describe).unwrap_or_default();
    let mut trouble = match program.excess() {
        Some(excess) => vec![format!("It was ended: {excess}.")],
        None => vec![format!("It ended before it listened: {status}.")],
    };
    let lines = program.last_lines(4);
    let is_taken = lines.iter().any(|line| {
        let line = String::from_utf8_lossy(line).to_lowercase();
        line.contains("in use") || line.contains("eaddrinuse")
    });
    trouble.extend(lines.iter().map(|l| format!("  | {}", show::line(l))));
    if is_taken {
        trouble.push(
            "It was asked for port 0, any free port. Does it take its address \
             from {addr}, or always the same one?"
                .into(),
        );
    }
    trouble
}

fn read_address(line: &[u8], asked: SocketAddr) -> Result<SocketAddr, Trouble> {
    let text = String::from_utf8_lossy(line);
    let shown = format!("Its first line on stdout was: {}", show::line(line));
    let wanted = "It must be: listening on IP:PORT";
    let Some(rest) = text.strip_prefix(FIRST_WORDS) else {
        return Err(vec![shown, wanted.into()]);
    };
    let Ok(mut addr) = rest.trim().parse::<SocketAddr>() else {
        let why = "What follows `listening on` is not such as 127.0.0.1:8888.";
        return Err(vec![shown, wanted.into(), why.into()]);
    };
    if addr.port() == 0 {
        let why = "Port 0 is the request for a free port; print the one that \
                   the system chose (getsockname).";
        return Err(vec![shown, why.into()]);
    }
    if addr.ip().is_unspecified() {
        addr.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    if !addr.ip().is_loopback() {
        let why = "The checker talks to this machine only: 127.0.0.1.";
        return Err(vec![shown, why.into()]);
    }
    if asked.port() != 0 && asked.port() != addr.port() {
        let why = format!("It was asked to listen on {asked}.");
        return Err(vec![format!("It listens on {addr}."), why]);
    }
    Ok(addr)
}

/// Is its first process still there, a moment after it said that it listens?
///
/// # Errors
/// It has ended.
pub fn stays(program: &mut Program) -> Result<(), Trouble> {
    let Some(status) = program.wait(Duration::from_millis(50)) else {
        return Ok(());
    };
    let said = format!(
        "It said that it listens, and ended at once: {}.",
        describe(status)
    );
    let why = "A server stays: it must not go into the background.";
    Err(vec![said, why.into()])
}

/// Does somebody answer where the program says it listens, and is it the
/// program itself?
///
/// # Errors
/// Nobody does, or somebody else.
pub fn knock(program: &Program, addr: SocketAddr) -> Result<(), Trouble> {
    let limit = Duration::from_secs(3);
    let ports = proc::listening(&program.pids());
    let answer = TcpStream::connect_timeout(&addr, limit);
    let what = match answer {
        Err(error) => format!("but there: {error}"),
        Ok(_) if os::IS_LINUX && !ports.contains(&addr.port()) => {
            "but somebody else listens there".to_owned()
        }
        Ok(_) => return Ok(()),
    };
    let mut trouble =
        vec![format!("It printed `listening on {addr}`, {what}.")];
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    trouble.push(match ports.is_empty() {
        true => "It listens on no port at all.".to_owned(),
        false => format!("It listens on port {}.", ports.join(", ")),
    });
    Err(trouble)
}
