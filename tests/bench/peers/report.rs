//! What was measured, as tables and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::process::Command;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cells::{CELLS, Cell, IDLE_SERVERS};
use crate::goals::{Goal, Of, goals};
use crate::journal::{CLIENTS, Round};
use crate::servers::{self, LIMIT, Server};
use crate::support::ROOT;

/// What one run of `load` saw.
#[derive(Clone, Deserialize, Serialize)]
pub struct Sample {
    /// Requests per second.
    rate: f64,
    /// The server's processor time per request, in microseconds.
    cpu_us: f64,
    p50_us: f64,
    p99_us: f64,
    /// The part of the time in which `load` itself used a processor.
    busy: f64,
    /// The server's memory at the end.
    memory_kb: f64,
}

impl Sample {
    pub fn from(report: &Value) -> Option<Sample> {
        let number = |path: &str| report.pointer(path)?.as_f64();
        Some(Sample {
            rate: number("/requests_per_second")?,
            cpu_us: number("/server/cpu_us_per_request")?,
            p50_us: number("/latency_us/p50")?,
            p99_us: number("/latency_us/p99")?,
            busy: number("/generator/busy")?,
            memory_kb: number("/server/memory_kb_after")?,
        })
    }
}

/// What `load --idle` saw: the server's memory per connection in KiB, and the
/// p99 of one client in microseconds.
#[derive(Clone, Deserialize, Serialize)]
pub struct Idle {
    kb_before: f64,
    kb_after: f64,
    alone_us: f64,
    among_us: f64,
}

impl Idle {
    pub fn from(report: &Value) -> Option<Idle> {
        let number =
            |path: &str| report.pointer("/idle")?.pointer(path)?.as_f64();
        Some(Idle {
            kb_before: number("/kb_before")?,
            kb_after: number("/kb_after")?,
            alone_us: number("/alone_us/p99")?,
            among_us: number("/among_us/p99")?,
        })
    }
}

/// The machine and the versions of the programs.
#[derive(Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    versions: Vec<String>,
}

impl Machine {
    pub fn here() -> Machine {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let model = cpus.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split(": ").nth(1));
        let rustc = [("rustc", "--version")];
        let tools = rustc.iter().chain(&servers::VERSIONS);
        Machine {
            cpu: model.unwrap_or("an unknown processor").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            versions: tools
                .filter_map(|(tool, flag)| version(tool, flag))
                .collect(),
        }
    }

    pub fn text(&self) -> String {
        let Machine { cpu, cores, kernel, versions } = self;
        let versions = versions.join(", ");
        format!("{cpu}, {cores} cores, Linux {kernel}, {versions}")
    }
}

/// The name of a program and its version.
fn version(tool: &str, flag: &str) -> Option<String> {
    let output = Command::new(tool).arg(flag).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let words = text.lines().next()?.split_whitespace();
    // Such as 1.95.0, go1.19.8 and v20.20.2.
    let mut words = words.map(|word| word.trim_start_matches(['g', 'o', 'v']));
    let is_version = |word: &&str| {
        word.contains('.')
            && word.chars().all(|c| c == '.' || c.is_ascii_digit())
    };
    Some(format!("{tool} {}", words.find(is_version)?))
}

/// The median of some values, the least and the greatest.
struct Spread {
    median: f64,
    min: f64,
    max: f64,
    /// How many rounds have a value, and how many there were.
    rounds: [usize; 2],
}

impl Spread {
    /// A value for each round; a round that failed has one that is not finite.
    fn of(values: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut all: Vec<f64> = values.collect();
        let planned = all.len();
        all.retain(|value| value.is_finite());
        all.sort_by(f64::total_cmp);
        let (min, max) = (*all.first()?, *all.last()?);
        let (median, rounds) = (all[all.len() / 2], [all.len(), planned]);
        Some(Spread { median, min, max, rounds })
    }

    /// How many rounds these values are of, if some are missing.
    fn note(&self) -> String {
        match self.rounds {
            [rounds, planned] if rounds < planned => {
                format!(", {rounds} of {planned} rounds")
            }
            _ => String::new(),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Spread { median, min, max, .. } = self;
        let places = places(*median);
        write!(f, "{median:.places$} ({min:.places$}–{max:.places$})")?;
        f.write_str(&self.note())
    }
}

/// How many decimals show two digits of a ratio, or at least one.
fn places(ratio: f64) -> usize {
    match ratio {
        0.095.. => 2,
        0.00095.. => 3,
        _ => 4,
    }
}

/// The part of the time from which on `load` may be what limits a rate.
const BUSY: f64 = 0.9;

/// The rounds of a server; `None` where a round failed.
type Rounds<T> = Vec<Option<T>>;

/// The rounds of each server.
type Named<T> = Vec<(&'static str, Rounds<T>)>;

/// The spread of a value's ratio to the same value of `base` in each round.
fn ratio(
    rounds: &Rounds<Sample>,
    base: &Rounds<Sample>,
    value: fn(&Sample) -> f64,
) -> Option<Spread> {
    let pairs = rounds.iter().zip(base);
    let value =
        |sample: &Option<Sample>| sample.as_ref().map_or(f64::NAN, value);
    Spread::of(pairs.map(|(a, b)| value(a) / value(b)))
}

fn spread<T>(rounds: &Rounds<T>, value: fn(&T) -> f64) -> Option<Spread> {
    let values = rounds.iter();
    Spread::of(values.map(|round| round.as_ref().map_or(f64::NAN, value)))
}

/// What one cell has shown.
struct Measured {
    cell: &'static Cell,
    servers: Named<Sample>,
}

impl Measured {
    fn rounds(&self, name: &str) -> Option<&Rounds<Sample>> {
        let mut servers = self.servers.iter();
        Some(&servers.find(|(other, _)| *other == name)?.1)
    }

    /// The name of a server, its rate and its processor time per message, each
    /// divided by that of the epoll server in C.
    fn beside(&self, name: &'static str) -> Option<Beside> {
        let (rounds, limit) = (self.rounds(name)?, self.rounds(LIMIT)?);
        let rate = ratio(rounds, limit, |sample| sample.rate)?;
        let cpu = ratio(rounds, limit, |sample| sample.cpu_us)?;
        Some(Beside { name, rate, cpu })
    }

    /// The part of the time in which `load` was busy beside the epoll server
    /// in C.
    fn busy(&self) -> Option<Spread> {
        spread(self.rounds(LIMIT)?, |sample| sample.busy)
    }

    /// How far a goal was reached, and what to know about it.
    fn reached(&self, goal: &Goal) -> Option<(Spread, String)> {
        let value: fn(&Sample) -> f64 = match goal.of {
            Of::Rate => |sample| sample.rate,
            Of::Cpu => |sample| sample.cpu_us,
        };
        let base = self.rounds(goal.base)?;
        let reached = ratio(self.rounds(goal.step)?, base, value)?;
        let is_rate = matches!(goal.of, Of::Rate) && goal.base == LIMIT;
        let busy = self.busy().map_or(0.0, |busy| busy.median);
        let note = match is_rate && !self.cell.is_pinned && busy >= BUSY {
            true => format!(" (`load` {:.0} % busy)", 100.0 * busy),
            false => String::new(),
        };
        Some((reached, note))
    }

    /// The full table of the cell.
    fn table(&self) -> String {
        let mut table = format!(
            "| {} | rate | CPU | p99 |\n| --- | ---: | ---: | ---: |\n",
            self.title()
        );
        for (name, rounds) in &self.servers {
            let p99 = spread(rounds, |sample| sample.p99_us);
            let rate = spread(rounds, |sample| sample.rate);
            let cpu = spread(rounds, |sample| sample.cpu_us);
            let (Some(p99), Some(rate), Some(cpu)) = (p99, rate, cpu) else {
                table += &format!("| {name} | not measured | | |\n");
                continue;
            };
            let (rate, cpu) = match self.beside(name) {
                Some(beside) if *name != LIMIT => {
                    (beside.rate.to_string(), beside.cpu.to_string())
                }
                _ => {
                    let (per_second, note) =
                        (thousands(rate.median), rate.note());
                    (format!("{per_second}/s{note}"), time(cpu.median))
                }
            };
            let p99 = time(p99.median);
            table += &format!("| {name} | {rate} | {cpu} | {p99} |\n");
        }
        table
    }

    fn title(&self) -> String {
        let group = self.cell.key.split('-').next().unwrap();
        let mut title = self.cell.title.to_owned();
        if !title.starts_with(group) {
            title = format!("{group} {title}");
        }
        // Where no line ends: before a sign, and before a unit.
        for part in ["×", "B", "KiB"] {
            let together = format!("\u{a0}{part}");
            title = title.replace(&format!(" {part}"), &together);
        }
        title
    }

    /// One row of the book's table: our steps, the fastest peer, the slowest.
    fn row(&self) -> String {
        let names = self.servers.iter().map(|(name, _)| *name);
        let names = names.filter(|name| *name != LIMIT);
        let (steps, peers): (Vec<_>, Vec<_>) = names
            .filter_map(|name| self.beside(name))
            .partition(|beside| beside.name.starts_with("step"));
        let text = |beside: &Beside| beside.to_string();
        let steps: Vec<_> = steps.iter().map(text).collect();
        let order =
            |a: &&Beside, b: &&Beside| a.rate.median.total_cmp(&b.rate.median);
        let fastest = peers.iter().max_by(order).map(text);
        let slowest = peers.iter().min_by(order).map(text);
        format!(
            "| {} | {} | {} | {} |\n",
            self.title(),
            steps.join("<br>"),
            fastest.unwrap_or_default(),
            slowest.unwrap_or_default()
        )
    }

    fn json(&self) -> Value {
        let servers = by_name(&self.servers);
        let Cell { title, load, is_framed, is_pinned, .. } = self.cell;
        json!({
            "key": self.cell.key, "title": title, "load": load,
            "framed": is_framed, "one_core": is_pinned, "servers": servers,
        })
    }
}

/// A server beside the epoll server in C.
struct Beside {
    name: &'static str,
    rate: Spread,
    cpu: Spread,
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Beside { name, rate, cpu } = self;
        let note = rate.note();
        let (rate, cpu) = (rate.median, cpu.median);
        let places = places(rate);
        // Narrow spaces, at which no line ends.
        write!(f, "{name} {rate:.places$}\u{202f}/\u{202f}")?;
        match cpu {
            10.0.. => write!(f, "{cpu:.1}{note}"),
            0.005.. => write!(f, "{cpu:.2}{note}"),
            _ => write!(f, "–{note}"), // too little for the kernel to count
        }
    }
}

/// All that a run has shown.
pub struct Outcome {
    machine: Machine,
    rounds: usize,
    left_out: Vec<(&'static str, bool, String)>,
    cells: Vec<Measured>,
    idle: Option<(String, Named<Idle>)>,
    journal: Option<Vec<Round>>,
}

/// What is limited, how to read it, and its limit.
type IdleGoal = (&'static str, fn(&Idle) -> f64, f64);

/// Why a server was left out, by its name and whether it speaks frames.
type Left = BTreeMap<(&'static str, bool), String>;

impl Outcome {
    pub fn new(machine: Machine, rounds: usize, left_out: &Left) -> Outcome {
        let left_out = left_out.iter();
        let left_out = left_out
            .map(|((name, is_framed), why)| (*name, *is_framed, why.clone()))
            .collect();
        let (cells, idle, journal) = (Vec::new(), None, None);
        Outcome { machine, rounds, left_out, cells, idle, journal }
    }

    /// Was this server not left out?
    pub fn has(&self, server: &Server) -> bool {
        !self.left_out.iter().any(|(name, is_framed, _)| {
            *name == server.name && *is_framed == server.is_framed
        })
    }

    pub fn add_cell(
        &mut self,
        cell: &'static Cell,
        rounds: Vec<(&'static Server, Rounds<Sample>)>,
    ) {
        let rounds = rounds.into_iter();
        let servers = rounds.map(|(server, rounds)| (server.name, rounds));
        let measured = Measured { cell, servers: servers.collect() };
        println!("{}", measured.table());
        self.cells.push(measured);
    }

    pub fn add_idle(
        &mut self,
        connections: &str,
        rounds: Vec<(&'static Server, Rounds<Idle>)>,
    ) {
        let name = |server: &Server| match (server.name, server.is_framed) {
            (LIMIT, true) => "C epoll, frames",
            (name, _) => name,
        };
        let rounds = rounds.into_iter();
        let rounds = rounds.map(|(server, rounds)| (name(server), rounds));
        self.idle = Some((connections.to_owned(), rounds.collect()));
        println!("{}", self.idle_table());
    }

    pub fn add_journal(&mut self, rounds: Vec<Round>) {
        self.journal = Some(rounds);
        println!("{}", self.journal_table());
    }

    /// Takes what this run has not measured from the last one of the book, if
    /// both are of one machine and have as many rounds.
    pub fn keep(&mut self) {
        let path = format!("{ROOT}tests/bench/peers.json");
        let text = fs::read_to_string(&path).expect("there is a last run");
        let old: Value = serde_json::from_str(&text).expect("it is JSON");
        let same = old["machine"] == json!(self.machine)
            && old["rounds"] == json!(self.rounds);
        assert!(same, "cannot keep {path}: another machine, or other rounds");
        for cell in &CELLS {
            let is_new = self.cells.iter().any(|new| new.cell.key == cell.key);
            let cells = old["cells"].as_array().into_iter().flatten();
            let kept = cells.filter(|kept| kept["key"] == cell.key).take(1);
            let kept = kept.map(|kept| Measured {
                cell,
                servers: named(&kept["servers"], cell.servers),
            });
            self.cells.extend(kept.filter(|_| !is_new));
        }
        let place = |cell: &Cell| CELLS.iter().position(|c| c.key == cell.key);
        self.cells.sort_by_key(|measured| place(measured.cell));
        self.keep_others(&old);
    }

    fn keep_others(&mut self, old: &Value) {
        if self.idle.is_none()
            && let Some(n) = old["idle"]["connections"].as_str()
        {
            let names = IDLE_SERVERS.map(|(name, _)| name);
            let servers = named(&old["idle"]["servers"], &names);
            self.idle = Some((n.to_owned(), servers));
        }
        if self.journal.is_none() {
            self.journal = serde_json::from_value(old["journal"].clone()).ok();
        }
    }

    /// Writes all files; those of a whole run are the ones of the book.
    pub fn write(&self, is_all: bool, is_quick: bool) {
        let folder = match is_all && !is_quick {
            true => format!("{ROOT}tests/bench"),
            false => servers::out(),
        };
        let goals = self.goals_table(is_all);
        println!("{}\n{goals}", self.steps_table());
        let tables: Vec<_> = self.cells.iter().map(Measured::table).collect();
        for (name, text) in [
            ("peers.md", self.summary()),
            ("peers-full.md", tables.join("\n")),
            ("peers-steps.md", self.steps_table()),
            ("peers-goals.md", goals),
            ("peers-idle.md", self.idle_table()),
            ("peers-journal.md", self.journal_table()),
            ("peers.json", self.json()),
        ] {
            fs::write(format!("{folder}/{name}"), text).unwrap();
        }
        println!("written into {folder}");
    }

    /// What the book shows first.
    fn summary(&self) -> String {
        let rows: String = self.cells.iter().map(Measured::row).collect();
        let mut text = format!(
            "| messages | our step | fastest peer | slowest peer |\n\
             | --- | --- | --- | --- |\n{rows}\nThe first figure is the \
             rate, the second the processor time per message; each is divided \
             by that of the epoll server in C, and is the median of {} \
             round{}.\nThe machine: {}.\n",
            self.rounds,
            if self.rounds == 1 { "" } else { "s" },
            self.machine.text()
        );
        text += &self.busy();
        for (name, _, why) in &self.left_out {
            text += &format!("This run left out {name}: {why}.\n");
        }
        text
    }

    /// A warning, where the rate of the epoll server in C may be the one that
    /// `load` can reach. In a cell of one core, both share it.
    fn busy(&self) -> String {
        let cells = self.cells.iter().filter(|it| !it.cell.is_pinned);
        let busy = cells.filter_map(Measured::busy).map(|busy| busy.median);
        let Some(Spread { median, .. }) = Spread::of(busy) else {
            return String::new();
        };
        if median < BUSY {
            return String::new();
        }
        format!(
            "Beside the epoll server in C, `load` itself was busy for {:.0} % \
             (median) of the time, except in the cells of one core, so that \
             server could do more: compare the processor time.\n",
            100.0 * median
        )
    }

    /// What steps 5 and 8 cost beside the step that they are built on.
    fn steps_table(&self) -> String {
        let cell = |key: &str| {
            self.cells.iter().find(|measured| measured.cell.key == key)
        };
        let mut table = "| CPU per message | one in flight | 16 in flight |\n\
                         | --- | ---: | ---: |\n"
            .to_owned();
        for (step, base) in [("step 5", "step 4"), ("step 8", "step 5")] {
            let ratios = ["framed-50x64", "framed-50x64x16"].map(|key| {
                let measured = cell(key)?;
                let (step, base) =
                    (measured.rounds(step)?, measured.rounds(base)?);
                ratio(step, base, |sample| sample.cpu_us)
            });
            let [one, many] = ratios.map(|ratio| match ratio {
                Some(spread) => spread.to_string(),
                None => "not measured".to_owned(),
            });
            table += &format!("| {step} ÷ {base} | {one} | {many} |\n");
        }
        table
    }

    /// What point 3 of issue 15 asks for. A run of `is_all` says of a cell that
    /// it was not measured; another one, of a server only.
    fn goals_table(&self, is_all: bool) -> String {
        let mut table = "| goal | median (min–max) | met |\n\
                         | --- | ---: | --- |\n"
            .to_owned();
        for goal in goals() {
            let mut cells = self.cells.iter();
            let cell = cells.find(|measured| measured.cell.key == goal.key);
            if cell.is_none() && !is_all {
                continue;
            }
            table += &match cell.and_then(|cell| cell.reached(&goal)) {
                Some((reached, note)) => {
                    let is_met = goal.is_met(reached.median);
                    met(&(goal.text() + &note), &reached, is_met)
                }
                None => format!("| {} | not measured | |\n", goal.text()),
            };
        }
        if is_all || self.idle.is_some() {
            table += &self.idle_goals();
        }
        table
    }

    /// What the issue asks for with 10 000 idle connections.
    fn idle_goals(&self) -> String {
        let goals: [IdleGoal; 3] = [
            ("KiB each before", |idle| idle.kb_before, 10.0),
            ("KiB each after 64 KiB", |idle| idle.kb_after, 10.0),
            ("p99 ÷ alone", |idle| idle.among_us / idle.alone_us, 2.0),
        ];
        let mut rows = String::new();
        let names = IDLE_SERVERS.iter().map(|(name, _)| *name);
        for name in names.filter(|name| name.starts_with("step")) {
            let mut servers = self.idle.iter().flat_map(|(_, all)| all);
            let rounds = servers.find(|(other, _)| *other == name);
            for (what, value, bound) in goals {
                let goal = format!("idle: {name}, {what} ≤ {bound}");
                rows += &match rounds.and_then(|(_, it)| spread(it, value)) {
                    Some(it) => met(&goal, &it, it.median <= bound),
                    None => format!("| {goal} | not measured | |\n"),
                };
            }
        }
        rows
    }

    fn idle_table(&self) -> String {
        let Some((connections, servers)) = &self.idle else {
            return String::new();
        };
        let mut table = format!(
            "| {} idle clients | memory each | after 64 KiB each | a new \
             client's p99 |\n| --- | ---: | ---: | ---: |\n",
            thousands(connections.parse().unwrap())
        );
        for (name, rounds) in servers {
            let value = |value: fn(&Idle) -> f64| {
                spread(rounds, value).map_or(f64::NAN, |spread| spread.median)
            };
            let Some(memory) = spread(rounds, |idle| idle.kb_before) else {
                table += &format!("| {name} | not measured | | |\n");
                continue;
            };
            let ratio = value(|idle| idle.among_us / idle.alone_us);
            table += &format!(
                "| {name}{} | {:.1} KiB | {:.1} KiB | {}, {ratio:.1} × \
                 alone |\n",
                memory.note(),
                memory.median,
                value(|idle| idle.kb_after),
                time(value(|idle| idle.among_us)),
            );
        }
        let rounds = servers.iter().map(|(_, rounds)| rounds.len()).max();
        let rounds = rounds.unwrap_or(0);
        let s = if rounds == 1 { "" } else { "s" };
        table + &format!("\nEach figure is the median of {rounds} round{s}.\n")
    }

    fn journal_table(&self) -> String {
        let Some(rounds) = &self.journal else {
            return String::new();
        };
        let syncs = rounds.iter().map(|round| round.syncs);
        let syncs = Spread::of(syncs).unwrap().median;
        let mut table = format!(
            "| step 7 with a journal | per second | ÷ syncs |\n\
             | --- | ---: | ---: |\n| syncs of the device alone | {} | 1 |\n",
            thousands(syncs)
        );
        for (i, clients) in CLIENTS.iter().enumerate() {
            let rates = rounds.iter().map(|round| round.operations[i]);
            let ratios =
                rounds.iter().map(|round| round.operations[i] / round.syncs);
            let rate = Spread::of(rates).map_or(f64::NAN, |rate| rate.median);
            let ratio = Spread::of(ratios);
            let ratio = ratio.map_or(String::new(), |all| all.to_string());
            let s = if *clients == 1 { "" } else { "s" };
            table += &format!(
                "| additions of {clients} client{s} | {} | {ratio} |\n",
                thousands(rate)
            );
        }
        table
    }

    /// All values of all rounds, one cell a line.
    fn json(&self) -> String {
        let cells = self.cells.iter().map(|cell| cell.json().to_string());
        let cells: Vec<_> = cells.collect();
        let idle = self.idle.as_ref().map(|(connections, servers)| {
            json!({"connections": connections, "servers": by_name(servers)})
        });
        let journal = self.journal.iter().flatten();
        let journal = journal.map(|round| {
            json!({"syncs": round.syncs, "operations": round.operations})
        });
        let journal: Vec<_> = journal.collect();
        format!(
            "{{\n\"machine\": {},\n\"rounds\": {},\n\"left_out\": {},\n\
             \"cells\": [\n{}\n],\n\"idle\": {},\n\"journal_clients\": {},\n\
             \"journal\": {}\n}}\n",
            json!(self.machine),
            self.rounds,
            json!(self.left_out),
            cells.join(",\n"),
            json!(idle),
            json!(CLIENTS),
            json!(journal)
        )
    }
}

fn by_name<T: Serialize>(servers: &Named<T>) -> Value {
    let servers = servers.iter();
    let servers = servers.map(|(name, rounds)| (*name, json!(rounds)));
    servers.collect()
}

/// The kept rounds of those of `names` that have any.
fn named<T: DeserializeOwned>(
    kept: &Value,
    names: &[&'static str],
) -> Named<T> {
    let rounds = |name: &&'static str| {
        let rounds = serde_json::from_value(kept.get(name)?.clone()).ok()?;
        Some((*name, rounds))
    };
    names.iter().filter_map(rounds).collect()
}

/// A row of the goals.
fn met(goal: &str, reached: &Spread, is_met: bool) -> String {
    let met = if is_met { "yes" } else { "**no**" };
    format!("| {goal} | {reached} | {met} |\n")
}

/// A whole number, its digits in groups of three.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push('\u{a0}'); // a space at which no line ends
        }
        text.push(digit);
    }
    text
}

/// A number of microseconds, with a unit that suits it.
fn time(us: f64) -> String {
    match us {
        us if us >= 10_000.0 => format!("{:.0} ms", us / 1000.0),
        us if us >= 1000.0 => format!("{:.1} ms", us / 1000.0),
        us if us >= 10.0 => format!("{us:.0} µs"),
        us => format!("{us:.1} µs"),
    }
}
