//! Plays everything that the lab can play, and compares what crossed the road
//! with the captures that the book shows.

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lab::ladder::{self, Step};
use lab::road::{Crossing, Side};
use lab::scenes::{DELAY, SCENES, Scene};
use lab::segment::Segment;
use libtest_mimic::{Arguments, Trial};

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const LAB: &str = env!("CARGO_BIN_EXE_lab");
const DEADLINE: Duration = Duration::from_secs(20);
const NOBODY: &str = "65534";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let no_lan = missing(&["ip", "unshare"], "true");
    let no_wan =
        no_lan.clone().or_else(|| missing(&["ss"], "test -w /dev/net/tun"));
    let no_nobody = no_lan.clone().or_else(|| missing(&["setpriv"], AS_NOBODY));
    let mut trials = vec![
        trial("two machines and a cable", &no_lan, lan),
        trial("a cable does not need root", &no_nobody, lan_as_nobody),
        trial("who may not use TUN is told so", &no_nobody, wan_as_nobody),
        trial("a wrong option is explained", &None, options),
    ];
    trials.extend(ODDITIES.map(|(title, test)| trial(title, &no_lan, test)));
    trials.extend(ROADS.map(|(title, test)| trial(title, &no_wan, test)));
    for scene in &SCENES {
        let python = scene.server.contains("python3")
            || scene.client.contains("python3");
        let needs: &[&str] = if python { &["python3"] } else { &[] };
        let absent = no_wan.clone().or_else(|| missing(needs, "true"));
        let (name, title) = (scene.name, scene.title);
        trials.push(trial(&format!("show {name}: {title}"), &absent, || {
            plays(scene)
        }));
        let title = format!("the capture of {name} shows it");
        trials.push(trial(&title, &None, || kept(scene)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

// ---- What a test needs

fn trial(
    title: &str,
    missing: &Option<String>,
    test: impl FnOnce() + Send + 'static,
) -> Trial {
    let title = match missing {
        Some(what) => format!("{title} (skipped: {what})"),
        None => title.to_owned(),
    };
    let trial = Trial::test(title, || {
        test();
        Ok(())
    });
    trial.with_ignored_flag(missing.is_some())
}

/// What is not there: Linux, a program, or what the script asks for.
fn missing(programs: &[&str], script: &str) -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("needs Linux".to_owned());
    }
    let succeeds = |script: &str| {
        let output = Command::new("sh").args(["-c", script]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let absent = programs
        .iter()
        .find(|program| !succeeds(&format!("command -v {program}")));
    match absent {
        Some(program) => Some(format!("needs {program}")),
        None if !succeeds("unshare -rn true || unshare -n true") => {
            Some("needs network namespaces".to_owned())
        }
        None => (!succeeds(script)).then(|| format!("needs: {script}")),
    }
}

/// Can another user make namespaces, and run what Cargo has built?
const AS_NOBODY: &str = concat!(
    "setpriv --reuid 65534 --regid 65534 --clear-groups unshare -rn ",
    env!("CARGO_BIN_EXE_lab"),
    " --version"
);

/// Runs the lab to its end. Returns its exit code and what it printed.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn lab(args: &[&str]) -> String {
    let (code, stdout, stderr) = run(Command::new(LAB).args(args));
    assert_eq!((code, &*stderr), (Some(0), ""), "{stdout}");
    stdout
}

/// Asserts a snapshot, which the book includes from its fourth line on.
fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path(format!("{TESTS}/snapshots"));
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Is this what the snapshot says? A busy machine may be late, and then a test
/// may try again.
fn is_kept(name: &str, text: &str) -> bool {
    let kept = fs::read_to_string(format!("{TESTS}/snapshots/{name}.snap"));
    kept.is_ok_and(|kept| kept.trim_end().ends_with(text.trim_end()))
}

// ---- The cable

/// A server that is late sends an ACK before its FIN (RFC 1122, 4.2.3.2), so
/// this test has three attempts.
fn lan() {
    let run = || without_times(&lab(&["lan", "--step", "step5", "hello"]));
    let mut text = run();
    for _ in 0..2 {
        if !is_kept("lab-lan", &text) {
            text = run();
        }
    }
    snapshot("lab-lan", &text);
}

fn lan_as_nobody() {
    let (code, stdout, stderr) = run(&mut nobody(&["lan", "hello"]));
    assert_eq!((code, &*stderr), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("client | hello\n"), "{stdout}");
}

fn nobody(args: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
    command.arg(LAB).args(args).env_remove("CARGO"); // may not write target/
    command
}

fn wan_as_nobody() {
    let is_allowed = missing(
        &[],
        &format!(
            "setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \
         test -w /dev/net/tun"
        ),
    );
    let (code, stdout, stderr) = run(&mut nobody(&["wan", "hello"]));
    if is_allowed.is_none() {
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        return;
    }
    assert_eq!((code, &*stdout), (Some(1), ""), "{stderr}");
    let start = "error: cannot use /dev/net/tun (be root, or ";
    assert!(stderr.starts_with(start), "{stderr}");
}

/// The same program, packet for packet, at other times. Both machines print at
/// once, so here the server's lines come first.
fn without_times(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let talk = lines.iter().take_while(|line| line.contains(" | ")).count();
    lines[..talk].sort_by_key(|line| line.starts_with("client"));
    for line in &mut lines[talk..] {
        if line.trim_start().starts_with(|c: char| c.is_ascii_digit()) {
            line.replace_range(..6, "     …");
        }
    }
    lines.join("\n")
}

// ---- Programs and people that behave oddly

const ODDITIES: [(&str, fn()); 5] = [
    ("a client that lives on is ended", lives_on),
    ("a client may print without end", floods),
    ("a client may print what is no text", paints),
    ("a missing folder is noticed at the start", no_folder),
    ("an argument that is no text is refused", no_text),
];

/// A program for both ends. What the client does is its fourth word.
const ODD: &str = r"#!/bin/sh
case $1 in server) echo 'listening on it'; exec sleep 60;; esac
case $4 in
    leaves) exec sleep 60 >&- 2>&-;;
    floods) yes | head -n 5000;;
    paints) printf 'caf\351 \033[2J\n'; printf '%2000d\nend\n' 0;;
esac
";

/// Runs `lab lan` with that program.
fn odd(does: &str) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd");
    let step = path.to_str().unwrap();
    let make = r#"printf %s "$0" > "$1" && chmod +x "$1""#;
    run(Command::new("sh").args(["-c", make, ODD, step]));
    let mut lab = Command::new(LAB);
    run(lab.args(["lan", "--step", step, does]).env_remove("CARGO"))
}

/// It closes its output, and lives on.
fn lives_on() {
    let start = Instant::now();
    let (code, stdout, stderr) = odd("leaves");
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stderr.contains("did not end within 20s"), "{stderr}");
    let took = start.elapsed();
    assert!((20..25).contains(&took.as_secs()), "{took:?}");
}

fn floods() {
    let (code, stdout, stderr) = odd("floods");
    assert_eq!((code, &*stderr), (Some(0), ""));
    let lines = stdout.lines().filter(|line| *line == "client | y").count();
    assert_eq!(lines, 1000);
    assert!(stdout.contains("client | … (lab prints 1000 lines)\n"));
}

fn paints() {
    let (code, stdout, stderr) = odd("paints");
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert!(stdout.contains("client | caf\u{fffd} \\u{1b}[2J\n"), "{stdout}");
    assert!(stdout.contains("client | end\n"), "{stdout}");
}

fn silent() {
    let mut lab = Command::new(LAB);
    lab.args(["wan", "--loss", "100%"]).env_remove("CARGO");
    lab.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut lab = lab.spawn().unwrap();
    let mut line = String::new();
    let stderr = lab.stderr.as_mut().unwrap();
    BufReader::new(stderr).read_line(&mut line).unwrap(); // it ends by itself
    lab.kill().unwrap();
    lab.wait().unwrap();
    assert!(line.starts_with("lab: no packet has arrived for 10s"), "{line}");
}

/// Whoever has read enough closes the pipe, and all ends.
fn read_enough() {
    let script = format!("{LAB} show all | head -n 1");
    let start = Instant::now();
    let lab = run(Command::new("sh").args(["-c", &script]).env_remove("CARGO"));
    let line = "# round-trips: a connection, and two requests on it\n";
    assert_eq!(lab, (Some(0), line.to_owned(), String::new()));
    assert!(start.elapsed() < DEADLINE / 2);
}

fn no_folder() {
    let mut lab = Command::new(LAB);
    let ended = run(lab.args(["show", "all", "--keep", "/no/folder"]));
    let (code, stdout, stderr) = ended;
    assert_eq!((code, &*stdout), (Some(1), ""));
    assert!(
        stderr.starts_with("error: cannot write to /no/folder "),
        "{stderr}"
    );
}

/// `lab lan` with a byte that is no text.
fn no_text() {
    let script = format!("{LAB} lan \"$(printf '\\377')\"");
    let (code, _, said) = run(Command::new("sh").args(["-c", &script]));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("invalid UTF-8"), "{said}");
}

// ---- The road

const ROADS: [(&str, fn()); 7] = [
    ("a bad road is survived", wan),
    ("UDP on a bad road adds up", wan_udp),
    ("TCP does not care if a packet arrives twice", wan_twice),
    ("a packet that is late is not lost", late),
    ("a silent road is reported", silent),
    ("a reader may have enough", read_enough),
    ("nothing is left behind", nothing_left),
];

fn wan() {
    let text = lab(&[
        "wan", "--delay", "10ms", "--jitter", "2ms", "--loss", "10%", "--rate",
        "1mbit", "--seed", "7", "--step", "step5", "one", "two",
    ]);
    assert!(text.contains("client | two\n"), "{text}");
    assert!(text.trim_end().ends_with(" sent again"), "{text}");
}

/// Ten additions over a road that loses, repeats and reorders packets.
fn wan_udp() {
    let text = lab(&[&BAD[..], &["--step", "udp"], &TEN].concat());
    let last = text.lines().rfind(|line| line.starts_with("client | 1"));
    assert_eq!(last, Some("client | 10"), "{text}");
    assert!(text.contains(" UDP 29 bytes"), "{text}");
    assert!(text.contains(" arrived twice\n"), "{text}");
}

const BAD: [&str; 9] = [
    "wan", "--delay", "5ms", "--jitter", "5ms", "--loss", "20%", "--twice",
    "20%",
];

const TEN: [&str; 7] =
    ["--", "--client-id", "1", "--add", "1", "--times", "10"];

fn wan_twice() {
    let all: Vec<String> =
        lab(&["wan", "--delay", "5ms", "--twice", "100%", "hello"])
            .lines()
            .map(str::to_owned)
            .collect();
    assert!(all.contains(&"client | hello".to_owned()), "{all:#?}");
    assert!(all.iter().any(|line| line.ends_with(" a copy")), "{all:#?}");
    let last = all.last().unwrap();
    assert!(last.contains(" 0 lost, "), "{last}");
    assert!(last.ends_with(" arrived twice"), "{last}");
}

/// Without a loss, the lab waits for the last packet, however late.
fn late() {
    let text = lab(&[
        "wan", "--delay", "0ms", "--jitter", "3s", "--seed", "4", "hello",
    ]);
    assert!(text.contains(" packets, 0 lost, "), "{text}");
    assert!(!text.contains('…'), "{text}");
}

fn options() {
    for (args, part) in [
        (["--delay", "25"], "write 25ms or 1.5s"),
        (["--delay", "xms"], "write 25ms or 1.5s"),
        (["--delay", "11s"], "from 0ms to 10s"),
        (["--loss", "0.1"], "write 5%"),
        (["--loss", "101%"], "from 0% to 100%"),
        (["--loss", "x%"], "write 5%"),
        (["--twice", "2"], "write 5%"),
        (["--rate", "1"], "write 64kbit or 1mbit"),
        (["--rate", "1.5mbit"], "a whole number"),
        (["--rate", "1kbit"], "8kbit to 1000mbit"),
        (["--step", ""], "a value is required"),
    ] {
        let (code, _, said) = run(Command::new(LAB).arg("wan").args(args));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(part), "{said}");
    }
    let (code, _, said) = run(Command::new(LAB).args(["show", "nothing"]));
    assert_eq!(code, Some(2));
    assert!(said.contains("lost-segment"), "{said}");
}

// ---- The scenes

/// What the files in a folder say about a scene.
fn captured(folder: &Path, scene: &Scene) -> Vec<Crossing> {
    let file = |side: &str| {
        let name = format!("wan-{}-{side}.pcap", scene.name);
        fs::read(folder.join(name)).unwrap()
    };
    lab::capture::read(&file("client"), &file("server")).unwrap()
}

fn captures() -> PathBuf {
    Path::new(TESTS).join("captures")
}

/// The text form of the kept capture, which the page prints. So its times are
/// those of one run.
fn kept(scene: &Scene) {
    let log = captured(&captures(), scene);
    assert!(is_in_time(scene, &log));
    snapshot(&format!("lab-{}", scene.name), &ladder::ladder(&log));
}

/// Plays the scene. A busy machine may hold back a packet until a timer fires,
/// and so it has three attempts.
fn plays(scene: &'static Scene) {
    let expected = essence(scene, &captured(&captures(), scene));
    let mut seen = Vec::new();
    for attempt in 1..=3 {
        let (log, text) = play(scene);
        seen = essence(scene, &log);
        if seen == expected && is_in_time(scene, &log) {
            if scene.look.is_none() {
                return;
            }
            let name = format!("lab-{}-ss", scene.name);
            let text = without_numbers(&text);
            if is_kept(&name, &text) || attempt == 3 {
                return snapshot(&name, &text);
            }
        }
    }
    assert_eq!(seen, expected);
    panic!("the times of {} are not those of the page", scene.name);
}

fn play(scene: &Scene) -> (Vec<Crossing>, String) {
    let folder = tempfile::tempdir().unwrap();
    let keep = folder.path().to_str().unwrap();
    let text = lab(&["show", scene.name, "--keep", keep]);
    let log = captured(folder.path(), scene);
    for crossing in &log {
        let took = crossing.arrived.map_or(DELAY, |time| time - crossing.sent);
        assert!(took >= DELAY, "a packet took {took:?}");
    }
    assert!(text.ends_with(&ladder::ladder(&log)), "{text}");
    (log, text)
}

/// What stays the same from run to run: of the packets that say something, who
/// sent them, in which order and after how many of the other side's, which got
/// lost, and which were sent again.
fn essence(scene: &Scene, log: &[Crossing]) -> Vec<String> {
    let is_coarse = ["slow-start", "zero-window"].contains(&scene.name);
    let steps = ladder::steps(log);
    if steps.is_empty() {
        return ladder::ladder(log).lines().map(without_time).collect();
    }
    let says = |step: &&Step| {
        let Segment { rst, window, .. } = step.segment;
        step.segment.has_content() || step.probe || rst || window == 0
    };
    let (client, server): (Vec<&Step>, Vec<&Step>) =
        steps.iter().filter(says).partition(|step| step.from == Side::Client);
    let mut lines = Vec::new();
    for (own, other) in [(&client, &server), (&server, &client)] {
        lines.extend(own.iter().map(|step| told(step, other, is_coarse)));
    }
    if is_coarse {
        lines.dedup();
    }
    lines
}

/// A line of a ladder, without the times at both its ends.
fn without_time(line: &str) -> String {
    let is_time = |word: &&str| word.parse::<u64>().is_ok();
    let words = line.split("  ").map(str::trim);
    let words = words.filter(|word| !word.is_empty() && !is_time(word));
    words.collect::<Vec<_>>().join("  ")
}

/// One packet as a line. How many bytes a segment has depends on the moment
/// when the window is large or small; there the numbers are left out.
fn told(step: &Step, other: &[&Step], is_coarse: bool) -> String {
    let Segment { syn, fin, rst, seq, len, window, .. } = step.segment;
    let flags = format!("{:?} {syn} {fin} {rst} {}", step.from, window == 0);
    let fate = format!("{} {}", step.again, step.lost);
    if is_coarse {
        return format!("{flags} {fate}");
    }
    let before = |o: &&&Step| o.arrived.is_some_and(|time| time <= step.sent);
    let heard = other.iter().filter(before).count();
    format!("{flags} {fate} {seq} {len} {} after {heard}", step.probe)
}

/// Are the times such as the page says? A busy machine makes them longer, so
/// most are only bounded from below.
fn is_in_time(scene: &Scene, log: &[Crossing]) -> bool {
    let steps = ladder::steps(log);
    let gaps = waits(&steps);
    let data =
        |side| times(&steps, |step| step.from == side && step.segment.len > 0);
    let (asked, answered) = (data(Side::Client), data(Side::Server));
    match scene.name {
        "slow-start" => flights(&steps).starts_with(&[10, 20, 40, 80]),
        // One second (RFC 6298, section 2).
        "lost-syn" => gaps[0] >= ms(990),
        // After a round trip; a timer would take 250 ms.
        "lost-segment" | "overtaken" => (ms(50)..ms(200)).contains(&gaps[0]),
        "lost-last" => gaps[0] >= ms(250),
        // Each wait is twice as long, once the probe is over.
        "cable" => gaps[1..].windows(2).all(|w| w[1] > w[0].mul_f64(1.8)),
        // The server reads after two seconds.
        "zero-window" => opening(&steps) >= ms(2000),
        // A second after its reply, the server asks.
        "heartbeat" => answered[1] - answered[0] >= ms(990),
        // Two round trips and the 40 ms of a late acknowledgement.
        "nagle" => answered[1] + DELAY - asked[2] >= ms(130),
        "keep-alive" => asks_each_second(&steps),
        // The client's own timer.
        "udp-lost-fragment" => log[2].sent - log[0].sent >= ms(1000),
        _ => true,
    }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// When the packets of this kind were sent.
fn times(steps: &[Step], is_such: impl Fn(&Step) -> bool) -> Vec<Duration> {
    let such = steps.iter().filter(|step| is_such(step));
    such.map(|step| step.sent).collect()
}

/// When the server opened its window again.
fn opening(steps: &[Step]) -> Duration {
    let window = |is_open| {
        times(steps, |step| {
            step.from == Side::Server && (step.segment.window > 0) == is_open
        })
    };
    let closed = window(false)[0];
    window(true).into_iter().find(|time| *time > closed).unwrap()
}

/// Does the client send something each second, once it is connected?
fn asks_each_second(steps: &[Step]) -> bool {
    let own = |step: &Step| step.from == Side::Client && !step.segment.syn;
    let times = times(steps, own);
    let mut gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.all(|gap| (ms(900)..ms(1600)).contains(&gap))
}

/// How long the client waited before each time that it sent something again.
fn waits(steps: &[Step]) -> Vec<Duration> {
    let mut waits = Vec::new();
    let own = steps.iter().filter(|step| step.from == Side::Client);
    let own: Vec<&Step> = own.collect();
    for (i, step) in own.iter().enumerate().filter(|(_, step)| step.again) {
        let before = own[..i].iter().rev();
        let mut before = before.filter(|b| b.segment.seq == step.segment.seq);
        let last = before.find(|b| b.segment.has_content()).unwrap();
        waits.push(step.sent - last.sent);
    }
    waits
}

/// How many segments the client sent at once, before it had to wait.
fn flights(steps: &[Step]) -> Vec<usize> {
    let (mut flights, mut last) = (Vec::new(), Duration::ZERO);
    for step in steps {
        if step.from != Side::Client || step.segment.len == 0 {
            continue;
        }
        if step.sent - last > DELAY {
            flights.push(0);
        }
        last = step.sent;
        *flights.last_mut().unwrap() += 1;
    }
    flights
}

/// What ss said, its numbers as far as they are the same in each run.
fn without_numbers(text: &str) -> String {
    let lines = text.lines().skip_while(|line| !line.starts_with("$ ss"));
    let lines = lines.take_while(|line| !line.is_empty()).map(|line| {
        let words = line.split("  ").map(|word| match word.split_once(':') {
            Some(("rto", n)) => format!("rto:{}…", &n[..1]),
            Some((name @ ("cwnd" | "ssthresh"), _)) => format!("{name}:N"),
            _ => word.to_owned(),
        });
        words.collect::<Vec<_>>().join("  ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

// ---- Nothing is left behind

/// Ten runs, and all but three are ended in the middle.
fn nothing_left() {
    let mark = format!("lab-test-{}", std::process::id());
    let before = interfaces();
    for n in 0..10u64 {
        let mut lab = Command::new("setsid"); // a group of its own
        // Ctrl-C ends it, even if these tests run in the background.
        lab.args(["env", "--default-signal=INT"]);
        lab.args([LAB, "wan", "--delay", "100ms", "--step", "step5", "one"]);
        lab.env("LAB_MARK", &mark);
        lab.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let lab = lab.spawn().unwrap();
        end(lab, n);
    }
    let end = Instant::now() + DEADLINE;
    while let Some(left) = marked(&mark) {
        assert!(Instant::now() < end, "still running: {left}");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(interfaces(), before);
}

/// Ends a run at a moment that differs from run to run: anywhere from its
/// start to the end of its packets.
fn end(mut lab: Child, n: u64) {
    let moments = [5, 20, 40, 80, 120, 250, 450];
    let signal = ["-KILL", "-INT", "-TERM"][n as usize % 3];
    let Some(moment) = moments.get(n as usize) else {
        assert!(lab.wait().unwrap().success());
        return;
    };
    thread::sleep(Duration::from_millis(*moment));
    // Ctrl-C goes to the whole group, and the others to one process.
    let group = if signal == "-INT" { "-" } else { "" };
    let target = format!("{group}{}", lab.id());
    let kill = |signal| {
        let mut kill = Command::new("kill");
        run(kill.args([signal, "--", &target])).0 == Some(0)
    };
    let end = Instant::now() + DEADLINE;
    while !kill("-0") {
        assert!(Instant::now() < end, "{target} is not there yet");
        thread::sleep(Duration::from_millis(1));
    }
    assert!(kill(signal));
    assert!(!lab.wait().unwrap().success());
}

/// A process that has this mark in its environment, if there is one.
fn marked(mark: &str) -> Option<String> {
    let processes = fs::read_dir("/proc").unwrap();
    processes.filter_map(Result::ok).find_map(|process| {
        let mut environment = String::new();
        let file = fs::File::open(process.path().join("environ"));
        file.ok()?.read_to_string(&mut environment).ok()?;
        let name = fs::read_to_string(process.path().join("comm")).ok()?;
        environment.contains(mark).then_some(name)
    })
}

fn interfaces() -> Vec<String> {
    let all = fs::read_dir("/sys/class/net").unwrap();
    let names = all.map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}
