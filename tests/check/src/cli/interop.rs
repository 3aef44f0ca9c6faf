//! Each student's server with each student's client, and the matrix of all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{IsTerminal, Write, stderr};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;

use crate::cli::class::Build;
use crate::cli::commands::{self, Choice};
use crate::cli::matrix::{Form, Matrix};
use crate::cli::options::{megabytes, step, step_help};
use crate::cli::say::Voice;
use crate::cli::submissions::{self, Copied, Scratch, shown};
use crate::cli::target;
use crate::harness::machine::Machine;
use crate::harness::random;
use crate::interop::{Cell, Client, Day, Mark, Server, Source};
use crate::program::running::Template;
use crate::session::{ensure_complete, jobs};
use crate::traits::Side;

/// Who meets whom, and how.
#[derive(Args)]
pub struct Options {
    #[arg(value_name = "STEP", value_parser = step, help = step_help())]
    step: u8,
    /// Folders of submissions: each folder in one of them is a submission
    #[arg(value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// How to start a server, in its own folder: 'server.py: python3
    /// server.py {addr}'
    ///
    /// You may repeat the option. The command is for those submissions that
    /// have the file; without a file, it is for all.
    #[arg(long = "server", value_name = "[FILE: ]COMMAND")]
    #[arg(value_parser = Choice::parse)]
    server_commands: Vec<Choice>,
    /// How to start a client: 'client.py: python3 client.py {addr} {text}'
    ///
    /// You may repeat the option. Without a FOLDER, it is your own client.
    #[arg(long = "client", value_name = "[FILE: ]COMMAND", required = true)]
    #[arg(value_parser = Choice::parse)]
    client_commands: Vec<Choice>,
    #[command(flatten)]
    build: Build,
    /// A file of servers that are already running, a line for each: NAME
    /// IP:PORT
    #[arg(long, value_name = "FILE")]
    servers: Option<PathBuf>,
    /// Allow the file to name other machines, if their owners agree
    #[arg(long, requires = "servers")]
    remote: bool,
    /// How long a client may take
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600))]
    limit: u64,
    /// Draw the texts from this number, so that a run can be repeated
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many servers may be tried at the same time [default: 3 for each
    /// processor, 4 to 12]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// End a program that takes more memory than this
    #[arg(long, value_name = "MB", default_value = "2048")]
    #[arg(value_parser = megabytes())]
    memory: u64,
    /// The form of the result
    #[arg(long, value_enum, default_value = "text")]
    format: Form,
}

/// Tries each pair, and prints the matrix. The exit code is 1 if any pair
/// failed, 2 if something is unknown.
///
/// # Errors
/// The command line names nothing to try, or a file cannot be read.
pub fn run(
    options: &Options,
    machine: &Machine,
    scratch: &Scratch,
) -> Result<u8> {
    ensure_sensible(options)?;
    let guests = Guests::of(options, machine, scratch)?;
    let seed = options.seed.unwrap_or_else(random::any_seed);
    let limit = Duration::from_secs(options.limit);
    let day = Day { step: options.step, seed, limit, machine };
    let Guests { servers, clients, .. } = &guests;
    let mut matrix = Matrix {
        step: options.step,
        seed,
        servers: servers.iter().map(|s| s.name.clone()).collect(),
        clients: clients.iter().map(|c| c.name.clone()).collect(),
        cells: Vec::new(),
    };
    let (voice, form) = (Voice(&machine.processes), options.format);
    voice.say(&matrix.head(form))?;
    let mut said = Ok(());
    meet_all(&day, servers, clients, options.jobs, |row| {
        let text = matrix.add(row, form);
        if said.is_ok() {
            said = voice.say(&text);
        }
    });
    said?;
    voice.say(&matrix.foot(form))?;
    Ok(exit_code(&matrix.cells))
}

fn exit_code(cells: &[Vec<Cell>]) -> u8 {
    let marks = || cells.iter().flatten().map(|cell| cell.mark);
    match () {
        () if marks().all(|mark| mark == Mark::Right) => 0,
        () if marks().any(|m| m != Mark::Right && m != Mark::Unknown) => 1,
        () => 2,
    }
}

/// Complains about the options before anything is copied or built.
fn ensure_sensible(options: &Options) -> Result<()> {
    let Options { server_commands, client_commands, .. } = options;
    commands::ensure_clear("--server", server_commands)?;
    commands::ensure_clear("--client", client_commands)?;
    for Choice { command, .. } in client_commands {
        let processes = &Machine::new().processes;
        let template = Template::parse(command, None, 0, processes)?;
        ensure_complete(Side::Client, &template, command, "--client")?;
    }
    options.build.commands.iter().try_for_each(commands::ensure_runs)?;
    let is_own = matches!(&client_commands[..], [one] if one.file.is_none());
    ensure_both(options, is_own)
}

/// Are there servers and clients?
fn ensure_both(options: &Options, is_own: bool) -> Result<()> {
    match (options.folders.is_empty(), &options.servers) {
        (true, None) => bail!(
            "cannot tell whom to try: name the folder of submissions, or a \
             file of running servers with --servers"
        ),
        (true, Some(_)) => ensure!(
            is_own,
            "cannot tell which client is yours: without a FOLDER, give one \
             --client, and no file in front of its command"
        ),
        (false, None) => ensure!(
            !options.server_commands.is_empty(),
            "cannot start a server: add --server with the command that starts \
             one, or --servers with a file of those that are running"
        ),
        (false, Some(_)) => {}
    }
    Ok(())
}

/// Who takes part.
#[derive(Default)]
struct Guests {
    servers: Vec<Server>,
    clients: Vec<Client>,
    /// The folders in which they run, until the end.
    copies: Vec<Copied>,
}

impl Guests {
    /// All whom the command line names.
    fn of(
        options: &Options,
        machine: &Machine,
        scratch: &Scratch,
    ) -> Result<Guests> {
        let mut guests = Guests::default();
        if let Some(file) = &options.servers {
            guests.servers.extend(read_servers(file, options.remote)?);
        }
        let folders = options.folders.iter();
        let paths: Result<Vec<_>> =
            folders.map(|f| submissions::submissions(f)).collect();
        let paths = paths?.concat();
        guests.ensure_distinct(options, &paths)?;
        for path in &paths {
            guests.invite(path, options, machine, scratch);
        }
        if options.folders.is_empty() {
            let command = &options.client_commands[0].command;
            let template = Ok(template(options, machine, command, None)?);
            guests.clients.push(Client { name: "client".into(), template });
        }
        Ok(guests)
    }

    /// Copies and builds a submission.
    fn invite(
        &mut self,
        path: &Path,
        options: &Options,
        machine: &Machine,
        scratch: &Scratch,
    ) {
        let named = [
            &options.server_commands[..],
            &options.client_commands,
            &options.build.commands,
        ];
        let number = self.copies.len();
        let made = submissions::copy(path, &named, scratch, number);
        let built = made.and_then(|copy| {
            let build = options.build.builder(options.memory, machine);
            build.build(&copy.folder).map(|()| copy)
        });
        let start = |choices: &[Choice]| {
            let copy = built.as_ref().map_err(|why| vec![why.line()])?;
            let choice = commands::choose(choices, &copy.folder)?;
            let folder = Some(copy.folder.clone());
            template(options, machine, &choice.command, folder)
                .map_err(|error| vec![format!("{error:#}.")])
        };
        let name = name_of(path);
        if !options.server_commands.is_empty() {
            let from = match start(&options.server_commands) {
                Ok(template) => Source::Command(template),
                Err(why) => Source::Nowhere(why),
            };
            self.servers.push(Server { name: name.clone(), from });
        }
        let template = start(&options.client_commands);
        self.clients.push(Client { name, template });
        self.copies.extend(built);
    }

    /// Complains before anything is copied.
    fn ensure_distinct(
        &self,
        options: &Options,
        paths: &[PathBuf],
    ) -> Result<()> {
        let clients: Vec<String> = paths.iter().map(|p| name_of(p)).collect();
        let mut servers: Vec<&String> =
            self.servers.iter().map(|server| &server.name).collect();
        if !options.server_commands.is_empty() {
            servers.extend(&clients);
        }
        let pairs =
            [("servers", servers), ("clients", clients.iter().collect())];
        for (what, names) in pairs {
            let mut seen = BTreeSet::new();
            let twice = names.iter().find(|name| !seen.insert(**name));
            ensure!(
                twice.is_none(),
                "cannot tell two {what} apart that are called {}: rename one",
                twice.map_or("", |name| &name[..])
            );
        }
        Ok(())
    }
}

fn name_of(path: &Path) -> String {
    shown(path.file_name().unwrap_or_default(), 64)
}

fn template(
    options: &Options,
    machine: &Machine,
    command: &str,
    folder: Option<PathBuf>,
) -> Result<Template> {
    let bytes = options.memory << 20;
    Template::parse(command, folder, bytes, &machine.processes)
}

/// Reads a file of servers that are running.
fn read_servers(file: &Path, may_be_remote: bool) -> Result<Vec<Server>> {
    let bytes = fs::read(file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let text = String::from_utf8(bytes).ok().with_context(|| {
        format!(
            "cannot read {file:?}: it is no UTF-8 text; a program on Windows \
             may have saved it as UTF-16, so save it again as UTF-8"
        )
    })?;
    let text = text.trim_start_matches('\u{feff}'); // a byte order mark
    let mut seen = BTreeMap::new();
    let mut servers = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let place = || format!("cannot use line {} of {file:?}", i + 1);
        let Some((name, addr)) =
            read_line(line, may_be_remote).with_context(place)?
        else {
            continue;
        };
        if let Some(other) = seen.insert(addr, name.clone()) {
            let why = format!("{other} and {name} are both at {addr}");
            return Err(anyhow!(why)).with_context(place);
        }
        servers.push(Server { name, from: Source::Running(addr) });
    }
    ensure!(!servers.is_empty(), "cannot find a server in {file:?}");
    Ok(servers)
}

/// Reads NAME IP:PORT. What follows a `#` after a space, or at the start, says
/// nothing, and neither does an empty line.
fn read_line(
    line: &str,
    may_be_remote: bool,
) -> Result<Option<(String, SocketAddr)>> {
    let line = line.split_once(" #").map_or(line, |(line, _)| line).trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, addr) = line
        .rsplit_once(char::is_whitespace)
        .context("a line is NAME IP:PORT")?;
    let harm = "each client sends it a message; add --remote if its owner \
                agrees";
    let addr = target::attach(addr, may_be_remote, harm)?;
    Ok(Some((shown(name.trim().as_ref(), 64), addr)))
}

/// Tries the rows beside each other. `done` hears of one after the other, in
/// the order of the servers.
fn meet_all(
    day: &Day,
    servers: &[Server],
    clients: &[Client],
    most: Option<usize>,
    mut done: impl FnMut(Vec<Cell>),
) {
    let (next, met) = (&AtomicUsize::new(0), &AtomicUsize::new(0));
    let (sender, receiver) = mpsc::channel();
    let pairs = servers.len() * clients.len();
    thread::scope(|scope| {
        for _ in 0..most.unwrap_or_else(jobs).clamp(1, servers.len().max(1)) {
            let sender = sender.clone();
            scope.spawn(move || {
                while let Some((i, server)) = take(next, servers) {
                    let row = day.row(server, clients, || {
                        show_progress(met, pairs);
                    });
                    let _ = sender.send((i, row));
                }
            });
        }
        drop(sender);
        let (mut waiting, mut said) = (BTreeMap::new(), 0);
        for (i, row) in receiver {
            waiting.insert(i, row);
            while let Some(row) = waiting.remove(&said) {
                let mut stderr = stderr().lock(); // no progress in between
                if stderr.is_terminal() {
                    let _ = write!(stderr, "\r\x1b[K");
                }
                done(row);
                said += 1;
            }
        }
    });
}

fn take<'a>(
    next: &AtomicUsize,
    servers: &'a [Server],
) -> Option<(usize, &'a Server)> {
    let i = next.fetch_add(1, Ordering::Relaxed);
    servers.get(i).map(|server| (i, server))
}

fn show_progress(met: &AtomicUsize, pairs: usize) {
    let met = met.fetch_add(1, Ordering::Relaxed) + 1;
    if stderr().is_terminal() {
        let _ = write!(stderr(), "\r{met}/{pairs} pairs …");
    }
}
