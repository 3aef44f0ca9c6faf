//! The scenes of "A remote network" and of "UDP": what goes wrong, and who is talking.

use std::time::Duration;

use crate::ladder;
use crate::road::{Crossing, Fate, Fault, Passing, Side};

/// How long a packet takes in each scene, one way.
pub const DELAY: Duration = Duration::from_millis(25);

/// Has the moment come, after these packets?
pub type Moment = fn(&[Crossing]) -> bool;

/// One scene. The server is at 10.8.0.1, the client at 10.8.0.2.
pub struct Scene {
    /// What `lab show` calls it.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// The server's program and its arguments. It prints "listening on".
    pub server: &'static str,
    /// The client's; `{N}` stands for a text of N bytes.
    pub client: &'static str,
    /// What is typed into the client, which then waits for more.
    pub typed: &'static str,
    /// What goes wrong.
    pub fault: fn() -> Fault,
    /// Where to look with ss(8), and when.
    pub look: Option<(Side, Moment)>,
    /// When the scene ends, unless the client's end ends it.
    pub lasts: Option<Duration>,
}

const STEP_3: &str = "step3 server --addr 10.8.0.1:8888";
const STEP_4: &str = "step4 server --addr 10.8.0.1:8888";
const STEP_5: &str = "step5 server --addr 10.8.0.1:8888";
const UDP: &str = "udp server --addr 10.8.0.1:8888 --datagram 2000";
const SINK: &str = "sink 10.8.0.1:8888";

/// What most scenes have in common.
const USUAL: Scene = Scene {
    name: "",
    title: "",
    server: SINK,
    client: "write-and-leave 10.8.0.1:8888 14480", // ten segments
    typed: "",
    fault: || Box::new(|_| Fate::Pass),
    look: None,
    lasts: None,
};

/// All scenes, in the order of the page.
pub const SCENES: [Scene; 15] = [
    Scene {
        name: "round-trips",
        title: "a connection, and two requests on it",
        server: STEP_5,
        client: "step5 client --addr 10.8.0.1:8888 one two",
        ..USUAL
    },
    Scene {
        name: "lost-syn",
        title: "the first SYN is lost",
        server: STEP_3,
        client: "step3 client --addr 10.8.0.1:8888 hi",
        fault: || Box::new(|p| lose(is_first_syn(p))),
        ..USUAL
    },
    Scene {
        name: "lost-segment",
        title: "the fourth segment of ten is lost",
        fault: || Box::new(|p| lose(is_new(p, 4))),
        look: Some((Side::Client, something_is_sent_again)),
        ..USUAL
    },
    Scene {
        name: "lost-last",
        title: "the last segment of three is lost",
        server: STEP_5,
        client: "step5 client --addr 10.8.0.1:8888 {4339}", // and 5: a frame
        fault: || Box::new(|p| lose(is_new(p, 3))),
        ..USUAL
    },
    Scene {
        name: "reordering",
        title: "the ninth segment is overtaken by the tenth",
        fault: || Box::new(|p| late(is_new(p, 9), 5)),
        ..USUAL
    },
    Scene {
        name: "overtaken",
        title: "the fifth segment is overtaken by five",
        fault: || Box::new(|p| late(is_new(p, 5), 5)),
        ..USUAL
    },
    Scene {
        name: "cable",
        title: "the cable is out for three seconds",
        server: STEP_5,
        client: "step5 client --addr 10.8.0.1:8888 one two",
        fault: || dark(|p| is_new(p, 2), Duration::from_secs(3)),
        ..USUAL
    },
    Scene {
        name: "slow-start",
        title: "a million bytes on a new connection",
        client: "write-and-leave 10.8.0.1:8888 1000000",
        ..USUAL
    },
    Scene {
        name: "zero-window",
        title: "the server does not read for two seconds",
        server: "python3 tests/peers/python/late_reader.py 10.8.0.1",
        client: "write-and-leave 10.8.0.1:8888 60000",
        ..USUAL
    },
    Scene {
        name: "half-open",
        title: "the client's machine is gone, and the server waits",
        server: STEP_3,
        client: "step3 client --addr 10.8.0.1:8888",
        typed: "one\n",
        fault: || dark(|p| p.at > HALF_A_SECOND, FOREVER),
        look: Some((Side::Server, |_| false)), // at the end
        lasts: Some(Duration::from_secs(3)),
    },
    Scene {
        name: "heartbeat",
        title: "the client's machine is gone, and the server asks",
        server: "step6 server --addr 10.8.0.1:8888 --heartbeat-ms 1000",
        client: "step6 client --addr 10.8.0.1:8888",
        typed: "one\n",
        fault: || dark(|p| p.at > HALF_A_SECOND, FOREVER),
        lasts: Some(Duration::from_secs(4)),
        ..USUAL
    },
    Scene {
        name: "nagle",
        title: "two small writes for one request",
        server: STEP_4,
        client: "two-writes 10.8.0.1:8888",
        ..USUAL
    },
    Scene {
        name: "keep-alive",
        title: "the server's machine is gone, and the client's kernel asks",
        server: STEP_3,
        client: "python3 tests/peers/python/keep_alive.py 10.8.0.1",
        fault: || dark(|p| p.at > HALF_A_SECOND, FOREVER),
        ..USUAL
    },
    Scene {
        name: "udp-fragments",
        title: "a datagram that just fits, and one byte more",
        server: UDP,
        client: "udp client --addr 10.8.0.1:8888 --datagram 2000 {1467} {1468}",
        ..USUAL
    },
    Scene {
        name: "udp-lost-fragment",
        title: "the second fragment is lost, and the first one waits for it",
        server: UDP,
        client: "udp client --addr 10.8.0.1:8888 --datagram 2000 {1468}",
        fault: || Box::new(|p| lose(p.from == Side::Client && p.nth == 2)),
        ..USUAL
    },
];

const HALF_A_SECOND: Duration = Duration::from_millis(500);
const FOREVER: Duration = Duration::MAX;

/// The scene of this name.
pub fn find(name: &str) -> Option<&'static Scene> {
    SCENES.iter().find(|scene| scene.name == name)
}

/// Is it the nth segment with data from the client, for the first time?
fn is_new(p: &Passing, nth: usize) -> bool {
    p.from == Side::Client && p.nth == nth && p.copies == 0 && p.segment.len > 0
}

fn is_first_syn(p: &Passing) -> bool {
    p.from == Side::Client && p.segment.syn && p.copies == 0
}

fn lose(is_lost: bool) -> Fate {
    if is_lost { Fate::Lose } else { Fate::Pass }
}

fn late(is_late: bool, ms: u64) -> Fate {
    let more = Duration::from_millis(ms);
    if is_late { Fate::Late(more) } else { Fate::Pass }
}

/// From the first packet that `begins`, for as long as `lasts`, both
/// directions lose everything.
fn dark(begins: fn(&Passing) -> bool, lasts: Duration) -> Fault {
    let mut since = None;
    Box::new(move |p| {
        if since.is_none() && begins(p) {
            since = Some(p.at);
        }
        lose(since.is_some_and(|since| p.at - since < lasts))
    })
}

fn something_is_sent_again(log: &[Crossing]) -> bool {
    ladder::steps(log).iter().any(|step| step.again)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scene_has_a_name_of_its_own() {
        for scene in &SCENES {
            let found = find(scene.name).unwrap();
            assert_eq!(found.title, scene.title);
        }
    }
}
