//! A wait, drawn to the scale of its capture.

use std::ops::Range;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::packets::{
    Across, Packet, SERVER, arrow, band, figure, line, words,
};
use crate::support::trial;

const MS: f64 = 6.0; // pixels
const START: usize = 68;
const ROW: usize = 40; // in the lens

/// From the packet before the longest wait to the first data from the server
/// after it. Only the wait is to scale: what follows takes a pixel or two, so
/// it is drawn apart, in a frame that says so.
pub fn to_scale(id: &str, title: &str, packets: &[Packet]) -> String {
    let (first, rest) = around_the_wait(packets);
    let wait = millis(packets[rest.start].time - packets[first].time);
    let together =
        millis(packets[rest.end - 1].time - packets[rest.start].time);
    assert!((40.0..60.0).contains(&wait), "{wait} ms");
    assert!(together < 1.0, "more than a few pixels: {together} ms");
    let across = Across::between(packets, 100, 300);
    let [client, server] = [packets[0].client(), SERVER];
    let end = START + (wait * MS) as usize;
    let lens = end + 8;
    let height = lens + 34 + rest.len() * ROW;
    let mut body = String::new();
    for (port, name) in [(client, "client"), (server, "server")] {
        body += &line(port, name, across.x(port), height);
        body += &band("", port, across.x(port), [START, end]);
    }
    body += &ticks(across.x(client), wait);
    body += &reasons(across.x(client), across.x(server));
    body += &frame(across.width(), [lens, height - 2], together);
    let rows = (0..rest.len()).map(|row| lens + 50 + row * ROW);
    let rows = [START].into_iter().chain(rows);
    let indices = [first].into_iter().chain(rest.clone());
    for (i, y) in indices.zip(rows) {
        let ends = [packets[i].from, packets[i].to].map(|port| across.x(port));
        body += &arrow(id, &packets[i], i + 1, ends, [y, y]);
    }
    let words = words(packets);
    let (before, after) = (&words[first], words[rest].join("; "));
    let words = format!("{before}; {wait:.0} ms without a packet; {after}");
    figure(id, title, &words, [across.width(), height], &body)
}

/// The packet before the longest wait, and those from there to the reply.
fn around_the_wait(packets: &[Packet]) -> (usize, Range<usize>) {
    let wait = |i: &usize| packets[i + 1].time - packets[*i].time;
    let first = (0..packets.len() - 1).max_by_key(wait).unwrap();
    let is_reply = |p: &Packet| p.from == SERVER && !p.payload.is_empty();
    let after = first + 1;
    let reply = packets[after..].iter().position(is_reply).unwrap();
    (first, after..after + reply + 1)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The scale, at the client's lifeline.
fn ticks(x: usize, wait: f64) -> String {
    let mut svg = String::new();
    for ms in (0..wait as usize).step_by(10) {
        let y = START + (ms as f64 * MS) as usize;
        svg += &format!(
            "<line class=\"tick\" x1=\"{}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\"/>\n\
             <text class=\"time\" x=\"{}\" y=\"{}\" text-anchor=\"end\">\
             {ms} ms</text>\n",
            x - 16,
            x - 9,
            x - 20,
            y + 5
        );
    }
    svg
}

fn reasons(client: usize, server: usize) -> String {
    let of_client =
        ["The client’s kernel", "holds the text back:", "Nagle’s algorithm."];
    let of_server =
        ["The server’s kernel", "holds its ACK back:", "delayed ACK."];
    let lines = |side, lines: [&str; 3], x, anchor, top| {
        let text = |(i, text): (usize, &str)| {
            let y = top + i * 23;
            format!(
                "<text class=\"{side}\" x=\"{x}\" y=\"{y}\" \
                 text-anchor=\"{anchor}\">{text}</text>\n"
            )
        };
        lines.into_iter().enumerate().map(text).collect::<String>()
    };
    lines("client", of_client, client + 16, "start", START + 50)
        + &lines("server", of_server, server - 16, "end", START + 158)
}

/// Around the packets that are not to scale.
fn frame(width: usize, [top, end]: [usize; 2], together: f64) -> String {
    format!(
        "<rect class=\"lens\" x=\"2\" y=\"{top}\" width=\"{}\" \
         height=\"{}\"/>\n\
         <text class=\"label\" x=\"{}\" y=\"{}\">\
         all within {together:.1} ms</text>\n",
        width - 4,
        end - top,
        width / 2,
        top + 20
    )
}

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    let test = || {
        let at = |from, ms, n| Packet {
            from,
            to: if from == SERVER { 50001 } else { SERVER },
            time: Duration::from_millis(ms),
            payload: vec![0; n],
            ..Packet::default()
        };
        let packets = [
            at(50001, 0, 5),
            at(SERVER, 1, 5),
            at(50001, 2, 5), // and now the wait
            at(SERVER, 42, 0),
            at(50001, 42, 3),
            at(SERVER, 43, 8),
            at(50001, 50, 0),
        ];
        assert_eq!(around_the_wait(&packets), (2, 3..6));
    };
    vec![trial("timeline::the longest wait is found", None, test)]
}
