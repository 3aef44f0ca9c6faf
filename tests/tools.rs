//! Tests that need a tool which may be missing: tcpdump, strace, `ip`, `ss`,
//! `nft`, or a certain release of the compiler. What is missing is skipped by
//! name. They mostly wait, so all of them are in one program, side by side.
//!
//!     cargo test --test tools             all of them
//!     cargo test --test tools symptoms    those of one file

#![allow(clippy::unwrap_used)] // in a test, a panic is the report

#[path = "support/ladder.rs"]
mod ladder;
#[path = "support/packets.rs"]
mod packets;
#[path = "support/states.rs"]
mod states;
mod support;

/// What the programs of "Async in ten minutes" print, and what rustc says.
#[path = "tools/async.rs"]
mod asynchronous;
#[path = "tools/calls.rs"]
mod calls;
#[path = "tools/capture.rs"]
mod capture;
#[path = "tools/diagnosis.rs"]
mod diagnosis;
#[path = "tools/drain.rs"]
mod drain;
#[path = "tools/flow.rs"]
mod flow;
#[path = "tools/options.rs"]
mod options;
#[path = "tools/panels.rs"]
mod panels;
#[path = "tools/pictures.rs"]
mod pictures;
#[path = "tools/pipes.rs"]
mod pipes;
#[path = "tools/proxy.rs"]
mod proxy;
#[path = "tools/silence.rs"]
mod silence;
#[path = "tools/speed.rs"]
mod speed;
#[path = "tools/symptoms.rs"]
mod symptoms;
#[path = "tools/timeline.rs"]
mod timeline;
#[path = "tools/twice.rs"]
mod twice;
#[path = "tools/wan.rs"]
mod wan;

use support::arguments::arguments;

fn main() {
    #[cfg(target_os = "linux")]
    support::close_inherited();
    let arguments = arguments();
    // The longest first: these wait for a kernel that takes its time.
    let mut trials = silence::trials();
    trials.extend(symptoms::trials());
    trials.extend(asynchronous::trials());
    trials.extend(calls::trials());
    trials.extend(capture::trials());
    trials.extend(diagnosis::trials());
    trials.extend(drain::trials());
    trials.extend(flow::trials());
    trials.extend(options::trials());
    trials.extend(panels::trials());
    trials.extend(pictures::trials());
    trials.extend(pipes::trials());
    trials.extend(proxy::trials());
    trials.extend(speed::trials());
    trials.extend(states::trials());
    trials.extend(timeline::trials());
    trials.extend(twice::trials());
    trials.extend(wan::trials());
    libtest_mimic::run(&arguments, trials).exit();
}
