//! Which faults act now: those that were given when the proxy started, and
//! those that came later.

use std::time::Duration;

use tokio::time::Instant;

use crate::faults::{After, Fault, Rule, Stop, Way};

/// How many faults there may be. Each connection looks at all of them.
pub const FAULTS: usize = 100;

/// All faults, each with the moment at which it was given.
#[derive(Default)]
pub struct Rules(Vec<(Instant, Rule)>);

/// One direction of one connection.
#[derive(Clone, Copy)]
pub struct Place {
    pub connection: u64,
    pub way: Way,
    pub started: Instant,
}

impl Rules {
    /// May this fault be added?
    pub fn has_room_for(&self, rule: &Rule) -> bool {
        self.0.len() < FAULTS || rule.is_clear()
    }

    /// Adds a fault. A `clear` for everything forgets all faults instead.
    pub fn add(&mut self, rule: Rule) {
        if rule.is_clear() {
            self.0.clear();
        } else {
            self.0.push((Instant::now(), rule));
        }
    }

    /// The faults of a place, in the order in which they begin to act there,
    /// and when that is: for some, in the future.
    pub fn of(&self, place: Place) -> Vec<(Instant, Fault)> {
        let mut faults = Vec::new();
        for (given, rule) in &self.0 {
            let is_late = rule.fault == Fault::Refuse; // it has begun
            if rule.concerns(place.connection, place.way) && !is_late {
                let since = (place.started + rule.at).max(*given);
                faults.push((since, rule.fault));
            }
        }
        faults.sort_by_key(|(since, _)| *since); // keeps the order of equals
        faults
    }

    /// May this connection not even begin?
    pub fn refuses(&self, connection: u64) -> bool {
        let of_it = |rule: &&Rule| rule.connections.contains(&connection);
        let rules = self.0.iter().map(|(_, rule)| rule).filter(of_it);
        rules.fold(false, |refuses, rule| match rule.fault {
            Fault::Refuse => true,
            // Any other `clear` comes too late, or ends faults of one way.
            Fault::Clear => {
                refuses && !(rule.at.is_zero() && rule.way.is_none())
            }
            _ => refuses,
        })
    }
}

/// What acts on one direction at one moment.
#[derive(Default)]
pub struct Plan {
    pub delay: Duration,
    pub jitter: Duration,
    pub rate: Option<u64>,
    pub slice: Option<u64>,
    pub corrupt: Option<u64>,
    pub slow_close: Duration,
    pub stops: Vec<(Stop, After)>,
}

impl Plan {
    /// What these faults make together. Of two that say the same thing, the
    /// later one counts.
    pub fn of(faults: impl Iterator<Item = Fault>) -> Plan {
        let mut plan = Plan::default();
        for fault in faults {
            match fault {
                Fault::Delay(time) => plan.delay = time,
                Fault::Jitter(time) => plan.jitter = time,
                Fault::Rate(size) => plan.rate = Some(size),
                Fault::Slice(size) => plan.slice = Some(size),
                Fault::Corrupt(size) => plan.corrupt = Some(size),
                Fault::SlowClose(time) => plan.slow_close = time,
                Fault::Stop(stop, after) => plan.stops.push((stop, after)),
                Fault::Clear => plan = Plan::default(),
                Fault::Refuse => {}
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Rules {
        let mut rules = Rules::default();
        texts.iter().for_each(|text| rules.add(text.parse().unwrap()));
        rules
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_acts_in_its_place_from_its_time_on() {
        let rules = rules(&["at 1s conn 1-2 down delay 5s", "up rate 7"]);
        let started = Instant::now();
        let of = |connection, way| {
            let all = rules.of(Place { connection, way, started });
            let all = all.iter().map(|(t, fault)| (*t - started, *fault));
            all.collect::<Vec<_>>()
        };
        let second = Duration::from_secs(1);
        let delay = (second, Fault::Delay(5 * second));
        assert_eq!(of(2, Way::Down), [delay]);
        assert_eq!(of(2, Way::Up), [(Duration::ZERO, Fault::Rate(7))]);
        assert_eq!(of(3, Way::Down), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_fault_counts_and_clear_ends_those_before_it() {
        let started = Instant::now();
        let place = Place { connection: 1, way: Way::Up, started };
        let plan = |rules: &Rules| {
            Plan::of(rules.of(place).into_iter().map(|(_, fault)| fault))
        };
        let mut rules = rules(&["at 3s clear", "at 1s stall", "at 4s rate 7"]);
        let now = plan(&rules);
        assert_eq!((now.stops.len(), now.rate), (0, Some(7)));
        tokio::time::advance(Duration::from_secs(9)).await;
        rules.add("rate 9".parse().unwrap());
        assert_eq!(plan(&rules).rate, Some(9));
        rules.add("clear".parse().unwrap());
        assert_eq!(plan(&rules).rate, None);
    }

    #[test]
    fn refuse_names_connections() {
        let mut rules = rules(&["conn 2-4 refuse", "conn 3 clear"]);
        let of = |rules: &Rules| [1, 2, 3, 4].map(|n| rules.refuses(n));
        assert_eq!(of(&rules), [false, true, false, true]);
        for late in ["at 1s clear", "up clear"] {
            rules.add(late.parse().unwrap());
            assert_eq!(of(&rules), [false, true, false, true]);
        }
        rules.add("clear".parse().unwrap());
        assert_eq!(of(&rules), [false; 4]);
    }
}
