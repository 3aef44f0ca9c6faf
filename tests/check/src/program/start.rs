//! Has the server come up? If not, why not, as far as we can see.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::diagnosis::show;
use crate::os;
use crate::program::proc;
use crate::program::running::{Program, Told, describe};

/// How long a program may take until it says that it listens.
const START: Duration = Duration::from_secs(10);

/// From this time on we look whether the program listens without saying so. If
/// it still has not said so a moment later, it will not.
const SILENT: Duration = Duration::from_secs(3);
const MOMENT: Duration = Duration::from_secs(1);

const FIRST_WORDS: &str = "listening on ";
const WANTED: &str = "It must be: listening on IP:PORT";

/// What kept a server from coming up: in a few sentences, a line each.
pub type Trouble = Vec<String>;

/// Waits until the server says where it listens.
///
/// # Errors
/// It ended, said something else, or said nothing in time.
pub fn wait_ready(program: &mut Program) -> Result<SocketAddr, Trouble> {
    let start = Instant::now();
    let mut listens_since = None;
    loop {
        if let Some(line) = program.out.first_line(Duration::from_millis(50)) {
            return read_address(&line, program.told);
        }
        if program.ended().is_some() {
            program.wait_output();
            if let Some(line) = program.out.first_line(Duration::ZERO) {
                return read_address(&line, program.told);
            }
            return Err(ended_early(program));
        }
        if start.elapsed() > SILENT && listens(program) {
            let since = listens_since.get_or_insert_with(Instant::now);
            if since.elapsed() > MOMENT {
                return Err(silent(program));
            }
        }
        if start.elapsed() > START {
            return Err(said_nothing(program));
        }
    }
}

fn said_nothing(program: &Program) -> Trouble {
    let mut trouble =
        vec!["It printed no line on stdout within 10 s.".to_owned()];
    trouble.extend(on_stderr(program));
    trouble.push(
        "Its first line must be `listening on IP:PORT`, and it must flush that \
         line."
            .into(),
    );
    trouble
}

fn listens(program: &Program) -> bool {
    !proc::listening(&program.pids()).is_empty()
}

/// It listens, and said nothing: why?
fn silent(program: &Program) -> Trouble {
    let stderr = on_stderr(program);
    let says_so = stderr
        .iter()
        .any(|line| line.to_lowercase().contains(FIRST_WORDS.trim_end()));
    let mut trouble =
        vec!["It listens, but printed no line on stdout.".to_owned()];
    trouble.extend(stderr);
    trouble.push(match says_so {
        true => "It says so on stderr, but the line belongs on stdout, as the \
                 first one there: listening on IP:PORT"
            .into(),
        // The classic.
        false => {
            "Its first line must be `listening on IP:PORT`. It may still be in \
             a buffer, because most languages do not write a line to a pipe \
             at once: flush stdout after it."
                .into()
        }
    });
    trouble
}

/// What it printed on stderr, for the trouble.
fn on_stderr(program: &Program) -> Trouble {
    match program.err.total() {
        0 => Vec::new(),
        _ => quoted(program),
    }
}

fn quoted(program: &Program) -> Trouble {
    let lines = program.last_words().into_iter();
    lines.map(|line| format!("  | {line}")).collect()
}

fn ended_early(program: &mut Program) -> Trouble {
    let status = program.ended().map(describe).unwrap_or_default();
    let mut trouble = match program.excess() {
        Some(excess) => vec![format!("The checker ended it: {}.", excess.what)],
        None => vec![format!("It ended before it listened: {status}.")],
    };
    let said = program.last_output();
    let said = String::from_utf8_lossy(&said).to_lowercase();
    trouble.extend(quoted(program));
    if said.contains("in use") || said.contains("eaddrinuse") {
        trouble.push(
            "The checker asked it for port 0, which means any free port, so it \
             may not take its address from {addr}."
                .into(),
        );
    }
    trouble
}

fn read_address(line: &[u8], told: Told) -> Result<SocketAddr, Trouble> {
    let text = String::from_utf8_lossy(line);
    let shown = format!("Its first line on stdout was: {}", show::line(line));
    let Some(rest) = text.strip_prefix(FIRST_WORDS) else {
        let mut trouble = vec![shown, WANTED.into()];
        trouble.extend(near_miss(&text).map(str::to_owned));
        return Err(trouble);
    };
    let Ok(addr) = rest.trim().parse().map(reachable) else {
        return Err(vec![shown, WANTED.into(), no_address(rest.trim()).into()]);
    };
    match not_there(addr, told) {
        None => Ok(addr),
        Some(why) => Err(vec![shown, why]),
    }
}

/// Where to connect to: 0.0.0.0 is each address of this machine, 127.0.0.1
/// among them, and ::ffff:127.0.0.1 is another way to write that.
pub fn reachable(mut addr: SocketAddr) -> SocketAddr {
    addr.set_ip(match addr.ip().to_canonical() {
        ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        ip => ip,
    });
    addr
}

/// Almost the line that is wanted.
fn near_miss(text: &str) -> Option<&'static str> {
    let at = text.to_lowercase().find(FIRST_WORDS.trim_end())?;
    Some(match text.get(at..)?.strip_prefix(FIRST_WORDS) {
        Some(_) => "Nothing may stand in front of `listening on`.",
        None if text[at..].starts_with(FIRST_WORDS.trim_end()) => {
            "After `listening on` follow one space and the address."
        }
        None => "`listening on` is written in small letters.",
    })
}

/// What follows `listening on` is no address: what is it?
fn no_address(text: &str) -> &'static str {
    let first = text.split_whitespace().next().unwrap_or_default();
    let (host, port) = text.rsplit_once(':').unwrap_or_default();
    if first.parse::<SocketAddr>().is_ok() {
        "Nothing may follow the address."
    } else if host.contains(':') && host.parse::<IpAddr>().is_ok() {
        "Put an IPv6 address in brackets: [::1]:8888."
    } else if host.starts_with(char::is_alphabetic)
        && !host.contains('/')
        && port.parse::<u16>().is_ok()
    {
        "That is a name. Print the address on which you listen (getsockname)."
    } else {
        "What follows `listening on` is not an address such as 127.0.0.1:8888."
    }
}

/// Why a client that was told an address would not find the server there, or
/// why we do not try to.
fn not_there(addr: SocketAddr, told: Told) -> Option<String> {
    let (ip, asked) = (addr.ip(), told.addr);
    if addr.port() == 0 {
        Some(
            "Port 0 is the request for a free port; print the one that the \
             kernel chose (getsockname)."
                .into(),
        )
    } else if !ip.is_loopback() {
        Some("The checker talks to this machine only: 127.0.0.1.".into())
    } else if asked.port() != 0 && asked.port() != addr.port() {
        Some(format!("The checker asked it to listen on {asked}."))
    } else if told.has_host && asked.ip() != ip {
        let name = match ip.is_ipv6() {
            true => " It may listen on the name localhost instead.",
            false => "",
        };
        let told = asked.ip();
        Some(format!(
            "The checker told it to listen on {told}, but it listens on {ip}, \
             so a client of {told} cannot reach it.{name}"
        ))
    } else {
        None
    }
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
/// No program listens there, or another one does.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(line: &str) -> Trouble {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let told = Told { addr, has_host: true };
        read_address(line.as_bytes(), told).err().unwrap_or_default()
    }

    #[test]
    fn one_address_has_many_forms() {
        for line in [
            "listening on 127.0.0.1:8888",
            "listening on [::ffff:127.0.0.1]:8888",
            "listening on 0.0.0.0:8888",
            "listening on [::]:8888",
        ] {
            assert_eq!(trouble(line), Trouble::new(), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_first_line_is_said() {
        for (line, why) in [
            ("Listening on 127.0.0.1:8888", "small letters"),
            ("server listening on 127.0.0.1:8888", "in front of"),
            ("listening on: 127.0.0.1:8888", "one space and the address"),
            ("listening on 127.0.0.1:8888 now", "follow the address"),
            ("listening on localhost:8888", "a name"),
            ("listening on ::1:8888", "in brackets"),
            ("listening on port 8888", "an address such as"),
            ("listening on http://127.0.0.1:8888", "an address such as"),
            ("listening on 127.0.0.1:0", "free port"),
            ("listening on 192.0.2.1:80", "this machine only"),
            ("listening on [::1]:8888", "the name localhost"),
            ("listening on 127.0.0.2:8888", "cannot reach it"),
        ] {
            let said = trouble(line);
            let last = said.last().map(String::as_str).unwrap_or_default();
            assert!(last.contains(why), "{line}: {last}");
        }
        let told = Told {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            has_host: false,
        };
        assert!(read_address(b"listening on [::1]:8888", told).is_ok());
        assert_eq!(trouble("Server started").len(), 2);
    }
}
