// ANCHOR: plan
//! Which faults act now: those that were given when the proxy started, and
//! those that came later.

use std::time::Duration;

use tokio::time::Instant;

use crate::faults::{After, Fault, Rule, Stop, Way};

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
    /// Adds a fault. A `clear` for everything forgets them all, so that a later
    /// connection does not start with faults that are over.
    pub fn add(&mut self, rule: Rule) {
        let everywhere = "clear".parse().ok();
        if Some(&rule) == everywhere.as_ref() {
            self.0.clear();
        }
        self.0.push((Instant::now(), rule));
    }

    /// The faults of a place, and since when each acts there; the last one may
    /// be in the future.
    pub fn of(&self, place: Place) -> Vec<(Instant, Fault)> {
        let concerned = self.0.iter().filter(|(_, rule)| {
            rule.concerns(place.connection, place.way)
                && rule.fault != Fault::Refuse
        });
        let mut faults: Vec<_> = concerned
            .map(|(given, rule)| {
                let since = (place.started + rule.at).max(*given);
                (since, rule.fault)
            })
            .collect();
        faults.sort_by_key(|(since, _)| *since);
        faults
    }

    /// May this connection not even begin?
    pub fn refuses(&self, connection: u64) -> bool {
        let concerned =
            self.0.iter().filter(|(_, rule)| rule.fault == Fault::Refuse);
        let mut rules = concerned.map(|(_, rule)| rule);
        rules.any(|rule| rule.connections.contains(&connection))
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
// ANCHOR_END: plan

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
        let rules = rules(&["at 2s conn 1-2 down delay 5s", "up rate 7"]);
        let started = Instant::now();
        let of = |connection, way| {
            let all = rules.of(Place { connection, way, started });
            let all = all.iter().map(|(t, fault)| (*t - started, *fault));
            all.collect::<Vec<_>>()
        };
        let second = Duration::from_secs(1);
        let delay = (2 * second, Fault::Delay(5 * second));
        assert_eq!(of(2, Way::Down), [delay]);
        assert_eq!(of(2, Way::Up), [(0 * second, Fault::Rate(7))]);
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
        let rules = rules(&["conn 2 refuse", "conn 3 stall"]);
        assert_eq!([1, 2, 3].map(|n| rules.refuses(n)), [false, true, false]);
    }
}
