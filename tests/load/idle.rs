//! Many connections that do nothing: what they cost, and whom they disturb.

use std::mem::replace;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::engine::{Engine, Measured, Plan};
use crate::process;
use crate::report::{Idle, Pair};
use crate::wire::Shape;

/// How long the connections are left alone after their one request. A server
/// may give large buffers back only after a pause.
const PAUSE: Duration = Duration::from_secs(3);

/// What the one client sends in an ECHO, in bytes.
pub const SIZE: usize = 64;

/// Opens `n` connections, lets each send one request of the engine's shape,
/// and measures a client that asks one small request at a time before and
/// after.
pub fn run<T>(
    engine: &mut Engine,
    n: usize,
    plan: Plan,
    pid: Option<u32>,
    mut look: impl FnMut() -> T,
) -> Result<(Idle, Measured<T>)> {
    let shape = &mut engine.shared.shape;
    let size = shape.size;
    let small = Shape::new(shape.speak, shape.work, SIZE);
    // No reply is missing whenever the shape changes.
    let large = replace(shape, small);
    one_client(engine, plan, &mut look)?;
    let alone_us = Pair::of(&engine.shared.latency);
    let memory = || pid.and_then(process::memory);

    let empty = memory();
    let all = engine.add(n);
    let seconds = engine.connect(all.clone())?;
    quiet(engine, pid)?;
    let kb_before = kb_each(n, empty, memory());

    let small = replace(&mut engine.shared.shape, large);
    engine.ask_each(all)?;
    engine.shared.shape = small;
    engine.rest(PAUSE)?;
    let kb_after = kb_each(n, empty, memory());

    let measured = one_client(engine, plan, look)?;
    let among_us = Pair::of(&engine.shared.latency);
    let idle = Idle {
        connections: n,
        size,
        kb_before,
        kb_after,
        alone_us,
        among_us,
        connect_per_second: n as f64 / seconds,
    };
    Ok((idle, measured))
}

/// By how much memory has grown, in KiB for each of `n` connections.
fn kb_each(n: usize, before: Option<u64>, after: Option<u64>) -> Option<f64> {
    Some((after? as f64 - before? as f64) / n as f64)
}

/// Measures a new client that asks one request at a time.
fn one_client<T>(
    engine: &mut Engine,
    plan: Plan,
    look: impl FnMut() -> T,
) -> Result<Measured<T>> {
    let one = engine.add(1);
    engine.connect(one.clone())?;
    engine.run(one, plan, look)
}

/// Waits until the server has used no CPU for half a second, or for 10 s.
fn quiet(engine: &mut Engine, pid: Option<u32>) -> Result<()> {
    let cpu = || pid.and_then(process::cpu);
    for _ in 0..20 {
        let before = cpu();
        engine.rest(Duration::from_millis(500))?;
        if cpu() == before {
            break;
        }
    }
    Ok(())
}

/// Descriptors besides those of connections: files, epoll, a terminal.
const SPARE: usize = 64;

/// Raises the limit of open files to what `connections` take.
pub fn allow(connections: usize) -> Result<()> {
    let wanted = (connections + SPARE) as u64;
    let limit = rlimit::increase_nofile_limit(wanted)
        .context("cannot raise the limit of open files")?;
    anyhow::ensure!(
        limit >= wanted,
        "cannot open {connections} connections: this user may open {limit} \
         files at most (as root: prlimit --nofile={wanted} --pid $$, or set \
         nofile in /etc/security/limits.conf)"
    );
    Ok(())
}
