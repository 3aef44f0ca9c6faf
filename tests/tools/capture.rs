//! Real packets of the steps, captured with tcpdump.
//!
//! The captures are kept in `tests/captures`, to be opened with Wireshark or
//! `tcpdump -r`; what the book prints is made from these files here. Where
//! tcpdump can run, each conversation is captured again and compared.
//! To make the kept files anew (as root, on Linux):
//!
//!     UPDATE_CAPTURES=step1,step2 cargo test --test tools capture

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::packets::{Lifelines, Packet, SERVER, frames, read, table, words};
use crate::pictures::{
    Rows, check_calls, check_frames, check_scale, check_states, check_table,
};
use crate::states::states;
use crate::support::net::{Namespace, missing, ports};
use crate::support::{Program, ROOT, bin, signal, snapshot, trial, wait_until};
use crate::timeline::to_scale;
use libtest_mimic::Trial;
use tempfile::NamedTempFile;

/// A capture: its name, its title in the book, and the conversation.
struct Conversation {
    name: &'static str,
    title: &'static str,
    /// The calls that send the FIN of the client, and that of the server.
    ends: [&'static str; 2],
    play: fn(&Namespace),
}

const CONVERSATIONS: [Conversation; 10] = [
    Conversation {
        name: "step1",
        title: "Step 1: a greeting, packet by packet",
        ends: ["shutdown", "close"],
        play: |net| {
            let server = net.server("step1");
            net.client("step1", "Hello, Server!").wait_end();
            server.wait_for("closes");
        },
    },
    Conversation {
        name: "step2",
        title: "Step 2: an echo",
        ends: ["shutdown", "close"],
        play: |net| {
            let server = net.server("step2");
            let mut client = net.typing_client("step2");
            for line in ["one\n", "two\n"] {
                client.write(line.as_bytes());
                client.wait_for(line);
            }
            client.end_input();
            client.wait_end();
            server.wait_for("ended");
        },
    },
    Conversation {
        name: "step3",
        title: "Step 3: two clients at once",
        ends: ["shutdown", "close"],
        play: |net| {
            let server = net.server("step3");
            let mut a = net.typing_client("step3");
            a.write(b"one\n");
            a.wait_for("one\n");
            net.client("step3", "two").wait_end();
            server.wait_for_times("ended", 1);
            a.end_input();
            a.wait_end();
            server.wait_for_times("ended", 2);
        },
    },
    Conversation {
        name: "step4",
        title: "Step 4: three messages",
        ends: ["shutdown", "close"],
        play: |net| {
            let server = net.server("step4");
            let mut client = net.typing_client("step4");
            for line in ["one\n", "two\n", "three\n"] {
                client.write(line.as_bytes());
                client.wait_for(line);
            }
            client.end_input();
            client.wait_end();
            server.wait_for("ended");
        },
    },
    Conversation {
        name: "step5",
        title: "Step 5: half a length, and then nothing",
        ends: ["close", "shutdown"],
        play: |net| {
            let mut command = net.command(bin("step5"));
            command.arg("server").env("TCP_FRAME_MS", "600");
            let server = Program::spawn(&mut command, false);
            assert_eq!(server.addr().port(), SERVER);
            let mut client = net.typing_client("step3");
            client.write(&[0, 0]);
            client.wait_for("whole");
            client.end_input();
            client.wait_end();
            server.wait_for("not whole");
        },
    },
    Conversation {
        name: "step5-retry",
        title: "Step 5: refused, not answered, and then answered",
        ends: ["close", "close"],
        play: |net| {
            Program::spawn(&mut net.command(bin("step5")), false).wait_end();
        },
    },
    Conversation {
        name: "step6",
        title: "Step 6: a PING that is answered, and one that is not",
        ends: ["close", "close"],
        play: |net| {
            let mut command = net.command(bin("step6"));
            command.arg("server").env("TCP_HEARTBEAT_MS", "600");
            let server = Program::spawn(&mut command, false);
            assert_eq!(server.addr().port(), SERVER);
            let mut client = net.typing_client("step3");
            client.write(b"\0\0\0\x09\x05\0\0\x03\xe8done"); // a WORK of 1 s
            client.wait_for("\0\0\0\x09\x02"); // PING
            client.write(b"\0\0\0\x09\x82\0\0\0\0\0\0\0\0"); // PONG
            client.wait_for("done");
            server.wait_for("no sign of life");
            client.end_input();
            client.wait_end();
        },
    },
    Conversation {
        name: "step8",
        title: "Step 8: a server is told to stop while it works",
        ends: ["close", "shutdown"],
        play: |net| {
            let server = net.server("step8");
            let mut client = net.typing_client("step3");
            client.write(b"\0\0\0\x09\x05\0\0\x07\xd0done"); // a WORK of 2 s
            server.wait_for("connected");
            signal(server.id(), "-TERM");
            client.wait_for("\0\0\0\x02\x04\x01"); // GOAWAY
            net.client("step3", "hi").wait_end();
            client.wait_for("done");
            server.wait_for("ended");
            client.end_input();
            client.wait_end();
            server.wait_end();
        },
    },
    Conversation {
        name: "time-wait",
        title: "The server closes first, and its end has to wait",
        ends: ["shutdown", "close"],
        play: |net| {
            let mut command = net.command(bin("article"));
            let server = Program::spawn(command.arg("answer-once"), false);
            assert_eq!(server.addr().port(), SERVER);
            let mut client = net.typing_client("step2");
            client.write(b"hi\n");
            client.wait_for("Hello, client!");
            server.wait_end();
            // As in the chapter, where somebody takes a while to press Ctrl-D.
            wait_until("the ACK of the server's FIN", || {
                in_state(net, FIN_WAIT_2) == [SERVER]
            });
            client.end_input();
            client.wait_end();
        },
    },
    Conversation {
        name: "two-writes",
        title: "Two small writes and 40 ms, drawn to scale; what is in \
                the frame would be a single line",
        ends: ["close", "close"],
        play: |net| {
            let server = net.server("step4");
            let client = &mut net.command(bin("two-writes"));
            Program::spawn(client, false).wait_end();
            server.wait_for("ended");
        },
    },
];

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let missing = missing();
    let mut trials = Vec::new();
    for conversation in &CONVERSATIONS {
        let name = conversation.name;
        let again = || capture_again(conversation);
        trials.push(trial(
            &format!("capture::{name}, captured anew"),
            missing,
            again,
        ));
        let print = || print(conversation);
        trials.push(trial(
            &format!("capture::{name}, as the book prints it"),
            None,
            print,
        ));
    }
    trials.push(trial(
        "capture::a client connects to itself",
        missing,
        self_connect,
    ));
    update();
    trials
}

/// Captures anew what `UPDATE_CAPTURES` names, and keeps it.
fn update() {
    let names = env::var("UPDATE_CAPTURES").unwrap_or_default();
    let is_named =
        |c: &&Conversation| names.split(',').any(|name| name == c.name);
    for conversation in CONVERSATIONS.iter().filter(is_named) {
        let (file, _) = capture(conversation);
        fs::copy(file.path(), kept(conversation.name)).unwrap();
    }
}

fn kept(name: &str) -> PathBuf {
    Path::new(ROOT).join(format!("tests/captures/{name}.pcap"))
}

fn print(conversation: &Conversation) {
    let Conversation { name, title, ends, .. } = conversation;
    let packets = packets_of(name, &fs::read(kept(name)).unwrap());
    let table = table(&packets);
    snapshot(&format!("capture-{name}"), &table);
    let rows = check_table(&table, &packets).unwrap();
    if *name == "step4" {
        let frames = frames(&packets);
        check_frames(&frames, &packets).unwrap();
        snapshot("frames-on-the-wire", &frames);
    }
    if *name == "two-writes" {
        let picture = to_scale("nagle-to-scale", title, &packets);
        check_scale(&picture, &rows, &packets).unwrap();
        return snapshot("nagle-to-scale", &picture);
    }
    if *name == "time-wait" {
        return with_states(name, title, &packets, &rows);
    }
    if *name == "step1" {
        let title = "The states of both ends in step 1";
        with_states("step1", title, &packets, &rows);
    }
    let id = &*format!("lifelines-{name}");
    let with_acks = *name == "step1";
    let lines = Lifelines { id, title, packets: &packets, with_acks };
    let unread = |all: &[Packet], i| is_unread(name, all, i);
    let picture = lines.with_calls(*ends, unread);
    check_calls(&picture, &rows, with_acks).unwrap();
    snapshot(id, &picture);
}

fn with_states(name: &str, title: &str, packets: &[Packet], rows: &Rows) {
    let id = &*format!("lifelines-{name}-states");
    let lines = Lifelines { id, title, packets, with_acks: true };
    let picture = lines.with_states();
    check_states(&picture, rows, packets).unwrap();
    snapshot(id, &picture);
}

/// Step 1's server reads once, so that it never learns of the client's FIN.
/// In the demo of step 5 the server never reads from the second connection
/// (the first one is refused), and the client drops each.
fn is_unread(name: &str, all: &[Packet], i: usize) -> bool {
    let p = &all[i];
    let before = &all[..i];
    match (name, p.to == SERVER) {
        ("step1", true) => p.has("FIN"),
        ("step5-retry", true) => {
            let syns = before.iter().filter(|p| p.flags == ["SYN"]);
            syns.count() == 2
        }
        ("step5-retry", false) => p.has("FIN"),
        _ => false,
    }
}

/// The packets of a capture. Several connections of one client are drawn
/// between the same two lifelines.
fn packets_of(name: &str, file: &[u8]) -> Vec<Packet> {
    let packets = read(file);
    if name != "step5-retry" {
        return packets;
    }
    let one = |port| if port == SERVER { SERVER } else { 50001 };
    let merged = packets.into_iter().map(|p| Packet {
        from: one(p.from),
        to: one(p.to),
        ..p
    });
    merged.collect()
}

/// The conversation of today must be the kept one. Which packets carry an
/// acknowledgement alone is a matter of time, so those are not compared.
fn capture_again(conversation: &Conversation) {
    let (file, net) = capture(conversation);
    let name = conversation.name;
    let today = packets_of(name, &fs::read(file.path()).unwrap());
    let kept = packets_of(name, &fs::read(kept(name)).unwrap());
    let essence = |packets: &[Packet]| -> Vec<_> {
        let essential = packets.iter().filter(|p| !p.is_plain_ack());
        let mut steps: Vec<_> = essential
            .map(|p| {
                (p.client(), p.from, p.seq, p.flags.clone(), p.payload.clone())
            })
            .collect();
        // Two packets that cross each other have no order.
        steps.sort_by_key(|step| (step.0, step.1, step.2));
        steps
    };
    assert_eq!(essence(&today), essence(&kept), "\n{:#?}", words(&today));
    // A SYN that was refused may stand before it.
    let answer = today.iter().position(|p| p.flags == ["SYN", "ACK"]).unwrap();
    let handshake = today[answer - 1..].iter().take(3);
    let handshake: Vec<_> = handshake.map(|p| &p.flags[..]).collect();
    assert_eq!(handshake, [&["SYN"][..], &["SYN", "ACK"], &["ACK"]]);
    if ["step1", "time-wait"].contains(&name) {
        assert_eq!(
            in_state(&net, TIME_WAIT),
            waiting_in(&today),
            "{:#?}",
            words(&today)
        );
    }
}

/// How the kernel writes two of its states.
const FIN_WAIT_2: &str = "05";
const TIME_WAIT: &str = "06";

/// The local ports of the connections that the kernel has in this state.
fn in_state(net: &Namespace, state: &str) -> Vec<u16> {
    let table = net.command("cat").arg("/proc/net/tcp").output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    let rows = table.lines().map(|row| row.split_whitespace());
    let rows = rows.map(|row| row.collect::<Vec<_>>());
    let rows = rows.filter(|row| row[3] == state);
    let port = |row: Vec<&str>| {
        let (_, port) = row[1].split_once(':').unwrap();
        u16::from_str_radix(port, 16).unwrap()
    };
    rows.map(port).collect()
}

/// The ports that the drawing shows in TIME-WAIT at the end.
fn waiting_in(packets: &[Packet]) -> Vec<u16> {
    let ends = [packets[0].from, packets[0].to].into_iter();
    let last = |port| states(packets, port).pop().unwrap().1;
    ends.filter(|&port| last(port) == "TIME-WAIT").collect()
}

/// Plays the conversation in a network of its own, and captures it.
fn capture(conversation: &Conversation) -> (NamedTempFile, Namespace) {
    let file = NamedTempFile::new().unwrap();
    let net = Namespace::new(conversation.name);
    let path = file.path().to_str().unwrap();
    // A demo listens on any port.
    let is_demo = conversation.name == "step5-retry";
    let port =
        if is_demo { "tcp".into() } else { format!("tcp port {SERVER}") };
    let tcpdump = net.tcpdump("lo", path, &port);
    (conversation.play)(&net);
    // What is on its way to the file is written before tcpdump ends.
    wait_until("the last packet", || is_over(file.path()));
    signal(tcpdump.id(), "-TERM");
    tcpdump.wait_end();
    (file, net)
}

/// Has each connection of the capture ended on both sides, by FIN or by RST
/// (which may also answer a SYN), and has the last FIN been acknowledged?
fn is_over(file: &Path) -> bool {
    let file = fs::read(file).unwrap();
    if file.len() < 24 {
        return false;
    }
    let packets = read(&file);
    let count = |flag| packets.iter().filter(|p| p.has(flag)).count();
    let is_last = |p: &Packet| p.is_plain_ack() || p.has("RST");
    count("SYN") > 0
        && count("FIN") + count("RST") == count("SYN")
        && packets.last().is_some_and(is_last)
}

/// No server listens, and the only port that the system has for a client is
/// the one that the client asks for.
fn self_connect() {
    let mut text = String::new();
    for (n, step) in ["step1", "step5"].iter().enumerate() {
        let net = Namespace::new(&format!("self-{step}"));
        let ports = ports(SERVER, SERVER);
        net.shell(&ports);
        let mut command = net.command("sh");
        let script = format!(
            "{} client 'Is anybody there?' 2>&1; echo \" exit code $?\"",
            bin(step)
        );
        command.args(["-c", &script]).env("TCP_ATTEMPTS", "1");
        let ended = Program::spawn(&mut command, false).finish();
        let printed = String::from_utf8(ended.stdout).unwrap();
        let set = if *step == "step5" { "TCP_ATTEMPTS=1 " } else { "" };
        text += &format!(
            "# terminal {}: {step}, alone in a network of its own\n\
             $ unshare -rn sh -c 'ip link set lo up; {ports}; exec sh'\n\
             # {set}target/debug/{step} client 'Is anybody there?'; \
             echo \" exit code $?\"\n{printed}\n",
            n + 1
        );
    }
    snapshot("self-connect", text.trim_end());
}
