//! One server and one client of different people: do they understand each
//! other, and does the server still serve when the client has gone?

mod ask;
mod host;
mod relay;

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::diagnosis::show;
use crate::harness::machine::Machine;
use crate::harness::random::Random;
use crate::interop::host::Host;
pub use crate::interop::host::{Server, Source};
use crate::interop::relay::{PATIENCE, Relay, Seen};
use crate::program::running::{Program, Template, describe};
use crate::steps::FRAMES;
use crate::traits::Side;

/// How often a pair is tried on a machine that is late.
const TRIES: usize = 3;

/// What a client of step 5 and later gets, so that it gives up before we do:
/// one attempt, and a request with all its attempts.
const LIMITS: [(&str, u64); 2] =
    [("TCP_REQUEST_MS", 2000), ("TCP_DEADLINE_MS", 6000)];

/// What became of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The client printed the right reply, and the server serves on.
    Right,
    /// The client failed, or printed something else.
    Wrong,
    /// The client did not end in time.
    Hangs,
    /// The server ended, or serves no more.
    Down,
    /// The machine was too busy to tell.
    Unknown,
    /// One of the two does not start, or is not there.
    Untried,
}

impl Mark {
    /// The sign in the matrix.
    pub fn sign(self) -> char {
        match self {
            Mark::Right => '✓',
            Mark::Wrong => '✗',
            Mark::Hangs => '…',
            Mark::Down => '!',
            Mark::Unknown => '?',
            Mark::Untried => '-',
        }
    }

    /// The word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Mark::Right => "right",
            Mark::Wrong => "wrong",
            Mark::Hangs => "hangs",
            Mark::Down => "server down",
            Mark::Unknown => "unknown",
            Mark::Untried => "not tried",
        }
    }
}

/// One field of the matrix.
#[derive(Clone)]
pub struct Cell {
    pub mark: Mark,
    /// Why it is not right, a sentence each.
    pub why: Vec<String>,
    /// Which of the two is not there, or does not start.
    pub missing: Option<Side>,
}

impl Cell {
    fn new(mark: Mark, why: Vec<String>) -> Cell {
        Cell { mark, why, missing: None }
    }

    pub fn is_right(&self) -> bool {
        self.mark == Mark::Right
    }
}

/// What is wrong, and why.
type Failure = (Mark, Vec<String>);

/// A client, and how to start it, or why it cannot be.
pub struct Client {
    pub name: String,
    pub template: Result<Template, Vec<String>>,
}

/// What all pairs have in common.
pub struct Day<'a> {
    pub step: u8,
    pub seed: u64,
    /// How long a client may take.
    pub limit: Duration,
    pub machine: &'a Machine,
}

impl Day<'_> {
    /// Lets one client after another talk to a server. `said` hears of each.
    pub fn row(
        &self,
        server: &Server,
        clients: &[Client],
        mut said: impl FnMut(),
    ) -> Vec<Cell> {
        let mut host = Host::new(server, self.step);
        let mut cells: Vec<Cell> = Vec::new();
        for client in clients {
            blame(&mut cells, &mut host);
            cells.push(match &client.template {
                Err(why) => untried(Side::Client, why.clone()),
                Ok(template) => self.pair(&mut host, &client.name, template),
            });
            said();
        }
        cells
    }

    /// Tries a pair; again if nothing but the time was wrong and the machine
    /// was late.
    fn pair(&self, host: &mut Host, client: &str, how: &Template) -> Cell {
        let label = format!("interop {} {client}", host.name());
        for _ in 0..TRIES {
            let start = Instant::now();
            let mut cell = match host.up() {
                Err(why) => untried(Side::Server, why),
                Ok(addr) => {
                    let mut random = Random::new(self.seed, &label);
                    let words = [random.word(12), random.word(12)];
                    self.meet(host, addr, how, &words)
                }
            };
            self.machine.processes.wait_if_over();
            let by_time = matches!(cell.mark, Mark::Hangs | Mark::Down)
                || cell.missing == Some(Side::Server);
            // A machine that was late half of the time excuses it.
            let late = self.machine.ticker.overslept_since(start);
            if !by_time || late * 2 < start.elapsed() {
                if cell.mark == Mark::Down {
                    cell.why.push(host.down().to_owned());
                }
                return cell;
            }
            host.down();
        }
        let why = "This machine is too busy to tell; try again when it is not.";
        Cell::new(Mark::Unknown, vec![why.into()])
    }

    /// The client meets the server; then we ask the server ourselves.
    fn meet(
        &self,
        host: &mut Host,
        addr: SocketAddr,
        how: &Template,
        [text, ours]: &[String; 2],
    ) -> Cell {
        let (mut client, relay) = match begin(addr, how, text) {
            Ok(both) => both,
            Err(error) => {
                return untried(Side::Client, vec![format!("{error:#}.")]);
            }
        };
        let failed = self.client_failed(&mut client, text);
        client.end();
        // A client that printed its reply may have left before it came.
        let patience = failed.as_ref().map_or(PATIENCE, |_| Duration::ZERO);
        let seen = relay.end(patience);
        let failed = untold(failed, &seen, [text, &self.expected(text)]);
        let down = host.ended().or_else(|| {
            let asked = host.serves(addr, ours);
            host.ended().or(asked.err().map(|why| {
                format!("Right after it, the checker asked the server: {why}")
            }))
        });
        match (failed, down) {
            (None, None) => Cell::new(Mark::Right, Vec::new()),
            (Some((mark, mut why)), None) => {
                why.push(host.hint());
                Cell::new(mark, why)
            }
            (failed, Some(down)) => {
                let why = failed.map_or(Vec::new(), |(_, why)| why);
                let why = why.into_iter().chain([down]).collect();
                Cell::new(Mark::Down, why)
            }
        }
    }

    /// What the client did wrong.
    fn client_failed(
        &self,
        client: &mut Program,
        text: &str,
    ) -> Option<Failure> {
        let status = client.wait(self.limit);
        client.wait_output();
        let printed = client.out.first();
        let expected = self.expected(text);
        let said = quote(&printed);
        let (mark, what) = match (client.excess(), status) {
            (Some(excess), _) => {
                let what = excess.what;
                (Mark::Wrong, format!("The checker ended the client: {what}."))
            }
            (_, None) => {
                let limit = show::time(self.limit);
                let what = format!("The client had not ended after {limit}.");
                (Mark::Hangs, format!("{what} It had printed {said}."))
            }
            (_, Some(status)) if !status.success() => {
                return Some((Mark::Wrong, exited(client, status)));
            }
            _ if strip(&printed) == expected.as_bytes() => return None,
            _ => {
                let due = quote(expected.as_bytes());
                let what = format!("The client had to print {due}, but");
                (Mark::Wrong, format!("{what} printed {said}."))
            }
        };
        Some((mark, vec![what]))
    }

    /// What a client must print that sends this.
    fn expected(&self, text: &str) -> String {
        match self.step {
            1 => ask::GREETING.to_owned(),
            _ => text.to_owned(),
        }
    }
}

/// Starts a client, and what stands between it and the server.
fn begin(
    addr: SocketAddr,
    how: &Template,
    text: &str,
) -> anyhow::Result<(Program, Relay)> {
    let limits = LIMITS.map(|(name, ms)| (name, ms.to_string()));
    let mut env = vec![("LC_ALL", "C.UTF-8".to_owned())];
    env.extend(limits);
    let relay = Relay::to(addr)?;
    match how.start(relay.addr, &[text.to_owned()], &env, None) {
        Ok(client) => Ok((client, relay)),
        Err(error) => {
            relay.end(Duration::ZERO);
            Err(error)
        }
    }
}

/// A client has failed, whatever it printed, if it never came or never sent its
/// text, or if the server never answered. Whether it has read the answer, nobody
/// can see here.
fn untold(
    failed: Option<Failure>,
    seen: &Seen,
    [text, reply]: [&str; 2],
) -> Option<Failure> {
    let has = |said: &[Vec<u8>], word: &str| {
        let word = word.as_bytes();
        said.iter().any(|s| s.windows(word.len()).any(|part| part == word))
    };
    let what = match () {
        () if seen.came == 0 => "The client never connected to the server.",
        () if failed.is_some() => return failed,
        () if !has(&seen.asked, text) => {
            "The client never sent its text to the server."
        }
        () if !has(&seen.answered, reply) => {
            "The server never sent the reply to the client."
        }
        () => return None,
    };
    let printed = "It printed the right reply all the same.";
    let (mark, mut why) = failed.unwrap_or((Mark::Wrong, Vec::new()));
    let is_alone = why.is_empty();
    why.push(what.to_owned());
    why.extend(is_alone.then(|| printed.to_owned()));
    Some((mark, why))
}

/// If the server has ended since the last client left, that client gets the
/// blame, and not the next one.
fn blame(cells: &mut [Cell], host: &mut Host) {
    let is_tried = |cell: &&mut Cell| cell.mark != Mark::Untried;
    let Some(last) = cells.iter_mut().rev().find(is_tried) else {
        return;
    };
    if let Some(end) = host.ended() {
        last.mark = Mark::Down;
        let late = "That was after the checker had asked it once more, and \
                    before the next client came.";
        last.why.extend([end, late.into(), host.down().into()]);
    }
}

/// It failed, and said why, perhaps.
fn exited(client: &Program, status: ExitStatus) -> Vec<String> {
    let how = describe(status);
    let what = format!("The client ended with {how}, but 0 means success.");
    let words = client.last_words().into_iter();
    let words = words.map(|line| format!("  | {line}"));
    [what].into_iter().chain(words).collect()
}

/// Without one newline at the end: a terminal wants it, and from step 4 on the
/// contract does.
fn strip(printed: &[u8]) -> &[u8] {
    printed.strip_suffix(b"\n").unwrap_or(printed)
}

fn quote(text: &[u8]) -> String {
    match text.is_empty() {
        true => "nothing".to_owned(),
        false => format!("{:?}", show::line(text)).replace("\\\\", "\\"),
    }
}

fn untried(side: Side, why: Vec<String>) -> Cell {
    Cell { missing: Some(side), ..Cell::new(Mark::Untried, why) }
}

/// Is a message a frame?
fn is_framed(step: u8) -> bool {
    step >= FRAMES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_between_two_clients_is_said_at_the_first() {
        let machine = Machine::new();
        let template =
            Template::parse("true", None, 1 << 30, &machine.processes);
        let addr = crate::harness::lab::any_port();
        let mut program =
            template.unwrap().start(addr, &[], &[], None).unwrap();
        program.wait(Duration::from_secs(60)).unwrap();
        let from = Source::Nowhere(Vec::new());
        let server = Server { name: "anna".into(), from };
        let mut host = Host::new(&server, 4);
        host.run(program, addr);
        let mut cells = vec![
            Cell::new(Mark::Right, Vec::new()),
            untried(Side::Client, Vec::new()),
        ];
        blame(&mut cells, &mut host);
        assert_eq!(cells[0].mark, Mark::Down);
        assert!(cells[0].why[0].starts_with("The server ended: exit code 0"));
        assert_eq!(cells[1].mark, Mark::Untried);
        let said = cells[0].why.len();
        blame(&mut cells, &mut host);
        assert_eq!(cells[0].why.len(), said, "it ended once");
    }
}
