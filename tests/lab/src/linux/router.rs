//! A router in a program: a TUN device on each machine, and a road in between.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::machine::{Machine, lock};
use crate::road::{Crossing, Road, Side};

/// The addresses of the machines, the server's first.
pub const ADDRESSES: [&str; 2] = ["10.8.0.1", "10.8.0.2"];

/// The most that a packet on this road may have, in bytes, as on Ethernet.
const MTU: u16 = 1500;

/// A router at work. Its threads end with the process.
pub struct Router {
    shared: Arc<Shared>,
}

struct Shared {
    start: Instant,
    road: Mutex<Road>,
    changed: Condvar,
    devices: [SyncDevice; 2],
}

impl Router {
    /// Lays the road between two machines.
    ///
    /// # Errors
    /// There is no TUN device, or this user may not use it.
    pub fn start(machines: [&Machine; 2], road: Road) -> Result<Router> {
        let devices = [
            device(machines[0], ADDRESSES[0])?,
            device(machines[1], ADDRESSES[1])?,
        ];
        let shared = Arc::new(Shared {
            start: Instant::now(),
            road: Mutex::new(road),
            changed: Condvar::new(),
            devices,
        });
        for side in [Side::Server, Side::Client] {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.receive(side));
        }
        let router = Router { shared: Arc::clone(&shared) };
        thread::spawn(move || shared.deliver());
        Ok(router)
    }

    /// How many of the packets so far are like this.
    pub fn count(&self, is_such: impl Fn(&Crossing) -> bool) -> usize {
        let road = lock(&self.shared.road);
        road.log().iter().filter(|packet| is_such(packet)).count()
    }

    /// What crossed the road so far.
    pub fn log(&self) -> Vec<Crossing> {
        lock(&self.shared.road).log().to_vec()
    }

    /// Waits until `found` says so of the packets so far, at most this long.
    /// Did it?
    pub fn wait_until(
        &self,
        limit: Duration,
        found: impl Fn(&[Crossing]) -> bool,
    ) -> bool {
        let shared = &self.shared;
        let road = lock(&shared.road);
        let is_not = |road: &mut Road| !found(road.log());
        let waited = shared.changed.wait_timeout_while(road, limit, is_not);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Waits until no packet is on its way and none was sent for as long as
    /// `pause`, at most `limit`.
    pub fn wait_for_quiet(&self, pause: Duration, limit: Duration) {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            let before = self.count(|_| true);
            let is_quiet = !self.wait_until(pause, |log| log.len() > before);
            if is_quiet && lock(&self.shared.road).next_due().is_none() {
                return;
            }
        }
    }
}

impl Shared {
    /// Takes what one machine sends.
    fn receive(&self, side: Side) {
        hurry();
        let mut buffer = [0; MTU as usize];
        while let Ok(n) = self.devices[side as usize].recv(&mut buffer) {
            let now = self.start.elapsed();
            lock(&self.road).enter(now, side, buffer[..n].to_vec());
            self.changed.notify_all();
        }
    }

    /// Hands each packet to the other machine when its time has come.
    fn deliver(&self) {
        hurry();
        let mut road = lock(&self.road);
        loop {
            while let Some(packet) = road.leave(self.start.elapsed()) {
                let to = &self.devices[packet.from.other() as usize];
                let _ = to.send(&packet.bytes); // a device that is off
            }
            road = self.wait(road);
        }
    }

    /// Waits for the next packet that is due, or for one that comes.
    fn wait<'a>(&'a self, road: MutexGuard<'a, Road>) -> MutexGuard<'a, Road> {
        let now = self.start.elapsed();
        let due = road.next_due().map(|due| due.saturating_sub(now));
        let pause = due.unwrap_or(Duration::from_secs(1));
        let waited = self.changed.wait_timeout(road, pause);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// First in line for a processor: a busy machine, too, should be a good road.
/// Only root gets it, and nobody needs it.
pub fn hurry() {
    let _ = rustix::process::nice(-20);
}

fn device(machine: &Machine, address: &str) -> Result<SyncDevice> {
    let device = machine
        .inside(|| DeviceBuilder::new().name("wan").mtu(MTU).build_sync())?;
    let device = device.context(
        "cannot use /dev/net/tun (be root, or let a container have it with \
         --device /dev/net/tun; if it is missing: modprobe tun)",
    )?;
    machine.run(&format!("ip address add {address}/24 dev wan"))?;
    machine.run("ip link set wan up txqueuelen 1000")?;
    Ok(device)
}
