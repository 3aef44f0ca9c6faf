//! What a run has shown: as text, JSON or CSV.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::errors::Errors;
use crate::wire::{Speak, Work};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub addr: SocketAddr,
    pub speak: Speak,
    pub work: Work,
    pub connections: usize,
    pub size: usize,
    pub in_flight: usize,
    /// Requests per second; none in a closed loop.
    pub rate: Option<f64>,
    pub reconnect: bool,
    /// How long to measure, and how long to send before that, in seconds.
    pub planned_seconds: f64,
    pub warm_up: f64,
    /// How long was measured, in seconds.
    pub seconds: f64,
    pub requests: u64,
    pub requests_per_second: f64,
    /// Bytes of requests; as many come back.
    pub bytes_per_second: f64,
    pub latency_us: Latency,
    /// Per cent of the requests, and the time that these took at most, in µs.
    pub latency_curve: Vec<(f64, f64)>,
    pub connect: Connect,
    pub errors: Errors,
    /// The first few errors, and how often each came.
    pub error_texts: Vec<(String, u64)>,
    pub generator: Generator,
    pub server: Option<Server>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Idle>,
    /// What makes the figures say less than they seem to.
    pub warnings: Vec<String>,
}

/// In microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
    pub mean: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connect {
    pub count: u64,
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Generator {
    pub cpu_seconds: f64,
    /// The part of the measured time in which it used a processor.
    pub busy: f64,
    /// How late requests left, in an open loop.
    pub late_us: Option<Late>,
}

/// In microseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Late {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Server {
    pub pid: u32,
    pub cpu_seconds: f64,
    pub cpu_us_per_request: f64,
    /// PSS in KiB before the connections were opened, and after the run.
    pub memory_kb_before: u64,
    pub memory_kb_after: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Idle {
    pub connections: usize,
    /// The payload of the one request of each, in bytes.
    pub size: usize,
    /// The server's memory in KiB for each idle connection, before it has
    /// sent anything and 3 s after it got one reply.
    pub kb_before: Option<f64>,
    pub kb_after: Option<f64>,
    /// A client that asks one request at a time, without the others and
    /// among them.
    pub alone_us: Pair,
    pub among_us: Pair,
    pub connect_per_second: f64,
}

/// In microseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pair {
    pub p50: f64,
    pub p99: f64,
}

/// The value that this part of all values does not exceed, in µs.
pub fn us(times: &Histogram<u64>, part: f64) -> f64 {
    times.value_at_quantile(part) as f64 / 1000.0
}

impl Latency {
    pub fn of(times: &Histogram<u64>) -> Latency {
        Latency {
            p50: us(times, 0.5),
            p90: us(times, 0.9),
            p99: us(times, 0.99),
            p99_9: us(times, 0.999),
            max: us(times, 1.0),
            mean: if times.is_empty() { 0.0 } else { times.mean() / 1000.0 },
        }
    }
}

impl Pair {
    pub fn of(times: &Histogram<u64>) -> Pair {
        Pair { p50: us(times, 0.5), p99: us(times, 0.99) }
    }
}

impl Late {
    pub fn of(times: &Histogram<u64>) -> Option<Late> {
        let (p50, p99) = (us(times, 0.5), us(times, 0.99));
        let late = Late { p50, p99, max: us(times, 1.0) };
        (!times.is_empty()).then_some(late)
    }
}

/// Points that get closer to 100 % by a tenth in eight steps, as far as there
/// are requests to tell them apart.
pub fn curve(times: &Histogram<u64>) -> Vec<(f64, f64)> {
    if times.is_empty() {
        return Vec::new();
    }
    let parts = (0..).map(|i| 1.0 - 10f64.powf(-f64::from(i) / 8.0));
    let enough = |part: &f64| (1.0 - part) * times.len() as f64 >= 1.0;
    let point = |part| (100.0 * part, us(times, part));
    parts.take_while(enough).chain([1.0]).map(point).collect()
}

impl Report {
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// A line of names and a line of values, without the curve and the texts.
    /// The names are the same for all reports; what is unknown stays empty.
    pub fn csv(&self) -> Result<String> {
        let known: BTreeMap<_, _> = self.columns()?.into_iter().collect();
        let mut full = self.clone();
        full.generator.late_us = Some(Late::default());
        full.server = Some(Server::default());
        full.idle = Some(Idle::default());
        let names = full.columns()?.into_iter().map(|(name, _)| name);
        let names: Vec<String> = names.collect();
        let value = |name| known.get(name).map_or("", String::as_str);
        let values: Vec<&str> = names.iter().map(value).collect();
        Ok(format!("{}\n{}", names.join(","), values.join(",")))
    }

    fn columns(&self) -> Result<Vec<(String, String)>> {
        let mut value = serde_json::to_value(self)?;
        if let Some(object) = value.as_object_mut() {
            for name in ["latency_curve", "error_texts", "warnings"] {
                object.remove(name);
            }
        }
        let mut columns = Vec::new();
        flatten("", &value, &mut columns);
        Ok(columns)
    }

    /// What makes the figures say less than they seem to.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let busy = self.generator.busy;
        // One request at a time: the loop and the server take turns.
        let is_many = self.connections * self.in_flight > 1;
        if self.rate.is_none() && is_many && busy > 0.9 {
            warnings.push(format!(
                "the load generator was busy for {:.0} % of the time, so the \
                 server may be faster than this",
                100.0 * busy
            ));
        }
        if let (Some(late), Some(rate)) = (&self.generator.late_us, self.rate) {
            if late.p99 > self.latency_us.p50 / 10.0 {
                warnings.push(format!(
                    "1 % of the requests left {} late or later, which counts \
                     as the server's time; try a lower --rate",
                    time(late.p99)
                ));
            }
            if self.requests_per_second < 0.99 * rate {
                warnings.push(format!(
                    "only {:.0} of {rate:.0} requests per second were \
                     answered",
                    self.requests_per_second
                ));
            }
        }
        warnings
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text.truncate(text.trim_end().len());
        text
    }

    fn write(&self, to: &mut String) -> std::fmt::Result {
        self.write_settings(to)?;
        if self.requests > 0 {
            self.write_latency(to)?;
            self.write_server(to)?;
            self.write_generator(to)?;
        }
        if let Some(idle) = &self.idle {
            idle.write(to)?;
        }
        for (text, times) in &self.error_texts {
            writeln!(to, "error      {times} × {text}")?;
        }
        for warning in &self.warnings {
            writeln!(to, "warning    {warning}")?;
        }
        Ok(())
    }

    fn write_settings(&self, to: &mut String) -> std::fmt::Result {
        let speak = match (self.speak, self.work) {
            (Speak::Raw, _) => "raw echo",
            (_, Work::Echo) => "ECHO frames",
            (_, Work::Add) => "ADD frames",
            (_, Work::Mixed) => "ECHO and ADD frames in turn",
        };
        let (addr, n) = (self.addr, self.connections);
        let size = match self.work {
            Work::Echo => format!("{} bytes", self.size),
            Work::Add => "24 bytes".to_owned(),
            Work::Mixed => format!("{} and 24 bytes", self.size),
        };
        writeln!(to, "server     {addr}, {speak}, {size}")?;
        let each = match (self.rate, self.reconnect) {
            (Some(rate), _) => {
                format!("{rate} requests per second (open loop)")
            }
            (None, true) => "a connection for each request".to_owned(),
            (None, false) => {
                format!("{} in flight on each (closed loop)", self.in_flight)
            }
        };
        let idle = self.idle.as_ref().map(|idle| idle.connections);
        let idle = idle.map(|n| format!(" among {n} idle ones"));
        let idle = idle.unwrap_or_default();
        let s = if n == 1 { "" } else { "s" };
        writeln!(to, "load       {n} connection{s}{idle}, {each}")
    }

    fn write_latency(&self, to: &mut String) -> std::fmt::Result {
        let (rate, n) = (self.requests_per_second, self.requests);
        let mb = self.bytes_per_second / 1e6;
        writeln!(
            to,
            "replies    {rate:.0}/s, {mb:.1} MB/s each way ({n} in {:.1} s)",
            self.seconds
        )?;
        let l = &self.latency_us;
        writeln!(
            to,
            "latency    p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
            time(l.p50),
            time(l.p90),
            time(l.p99),
            time(l.p99_9),
            time(l.max)
        )?;
        let c = &self.connect;
        writeln!(
            to,
            "connect    {:.0}/s, p50 {}, p99 {}, max {}",
            c.per_second,
            time(c.p50_us),
            time(c.p99_us),
            time(c.max_us)
        )
    }

    fn write_server(&self, to: &mut String) -> std::fmt::Result {
        let Some(server) = &self.server else {
            return writeln!(to, "its CPU    cannot be seen from here");
        };
        writeln!(
            to,
            "its CPU    {} per request (process {}), memory {} KB, then {} KB",
            time(server.cpu_us_per_request),
            server.pid,
            server.memory_kb_before,
            server.memory_kb_after
        )
    }

    fn write_generator(&self, to: &mut String) -> std::fmt::Result {
        let Generator { cpu_seconds, busy, late_us } = &self.generator;
        if let Some(late) = late_us {
            let [p50, p99, max] = [late.p50, late.p99, late.max].map(time);
            return writeln!(
                to,
                "generator  sent {p50} late (p50), {p99} (p99), {max} (max)"
            );
        }
        if *cpu_seconds <= 0.0 {
            let text = "generator  unknown CPU (less than 10 ms, or no Linux)";
            return writeln!(to, "{text}");
        }
        let busy = 100.0 * busy;
        let each = time(1e6 * cpu_seconds / self.requests as f64);
        let most = self.requests as f64 / cpu_seconds;
        writeln!(
            to,
            "generator  {busy:.0} % busy, {each} per request, so about \
             {most:.0}/s at most"
        )
    }
}

impl Idle {
    fn write(&self, to: &mut String) -> std::fmt::Result {
        let kb = |kb: Option<f64>| match kb {
            Some(kb) => format!("{kb:.1} KB"),
            None => "unknown".to_owned(),
        };
        let (n, size) = (self.connections, self.size);
        let rate = self.connect_per_second;
        writeln!(to, "idle       {n} connections, opened at {rate:.0}/s")?;
        writeln!(
            to,
            "its memory {} for each, {} after a request of {size} bytes",
            kb(self.kb_before),
            kb(self.kb_after)
        )?;
        for (what, pair) in
            [("alone", &self.alone_us), ("among", &self.among_us)]
        {
            let (p50, p99) = (time(pair.p50), time(pair.p99));
            writeln!(
                to,
                "{what}      p50 {p50}, p99 {p99}, one request at a time"
            )?;
        }
        Ok(())
    }
}

/// A time in µs, in the unit that reads best.
pub fn time(us: f64) -> String {
    match us {
        us if us < 9.995 => format!("{us:.2} µs"),
        us if us < 99.95 => format!("{us:.1} µs"),
        us if us < 999.5 => format!("{us:.0} µs"),
        us if us < 99_950.0 => format!("{:.2} ms", us / 1e3),
        us if us < 999_500.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

fn flatten(name: &str, value: &Value, columns: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let dot = if name.is_empty() { "" } else { "." };
                flatten(&format!("{name}{dot}{key}"), value, columns);
            }
        }
        Value::Null => columns.push((name.to_owned(), String::new())),
        Value::String(text) => columns.push((name.to_owned(), text.clone())),
        value => columns.push((name.to_owned(), value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_known_times() {
        let mut times = crate::connection::histogram();
        for us in 1..=1000 {
            times.record(1000 * us).unwrap();
        }
        let latency = Latency::of(&times);
        let close = |value: f64, due: f64| (value / due - 1.0).abs() < 0.002;
        assert!(close(latency.p50, 500.0), "{latency:?}");
        assert!(close(latency.p90, 900.0), "{latency:?}");
        assert!(close(latency.p99, 990.0), "{latency:?}");
        assert!(close(latency.p99_9, 999.0), "{latency:?}");
        assert!(close(latency.max, 1000.0), "{latency:?}");
        assert!(close(latency.mean, 500.5), "{latency:?}");
    }

    fn report(connections: usize, in_flight: usize) -> Report {
        let times = crate::connection::histogram();
        let (count, per_second, p50_us, p99_us, max_us) = Default::default();
        let connect = Connect { count, per_second, p50_us, p99_us, max_us };
        let (cpu_seconds, busy, late_us) = (0.0, 0.95, None);
        Report {
            addr: ([127, 0, 0, 1], 8888).into(),
            speak: Speak::Frames,
            work: Work::Add,
            connections,
            size: 64,
            in_flight,
            rate: None,
            reconnect: false,
            planned_seconds: 1.0,
            warm_up: 0.2,
            seconds: 1.0,
            requests: 1,
            requests_per_second: 1.0,
            bytes_per_second: 29.0,
            latency_us: Latency::of(&times),
            latency_curve: Vec::new(),
            connect,
            errors: Errors::default(),
            error_texts: Vec::new(),
            generator: Generator { cpu_seconds, busy, late_us },
            server: None,
            idle: None,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_busy_generator_may_be_the_limit_if_requests_overlap() {
        for (connections, in_flight, due) in [(1, 1, 0), (2, 1, 1), (1, 2, 1)] {
            let warnings = report(connections, in_flight).warnings();
            assert_eq!(warnings.len(), due, "{connections} {in_flight}");
        }
    }

    #[test]
    fn what_is_unknown_is_not_a_number() {
        let text = report(1, 1).text();
        assert!(text.contains("ADD frames, 24 bytes"), "{text}");
        assert!(text.contains("generator  unknown CPU"), "{text}");
        assert!(!text.contains("inf"), "{text}");
    }

    #[test]
    fn all_reports_have_the_same_columns() {
        let names = |report: &Report| {
            let csv = report.csv().unwrap();
            let (names, values) = csv.split_once('\n').unwrap();
            let count = |line: &str| line.split(',').count();
            assert_eq!(count(names), count(values), "{csv}");
            names.to_owned()
        };
        let (some, mut all) = (report(1, 1), report(1, 1));
        all.server = Some(Server::default());
        all.idle = Some(Idle::default());
        all.generator.late_us = Some(Late::default());
        assert_eq!(names(&some), names(&all));
        assert!(names(&some).contains("server.cpu_us_per_request"));
    }
}
