//! What the book includes: for each JSON file of the measurements, a figure
//! and a table.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

use crate::chart::{Axis, Chart, Line, Scale, figure};
use crate::data::{Growth, Loop, Pause, Point, Server};

/// The name of a file, and its text.
pub type Page = (String, String);

/// All pages that the JSON files in `folder` make. After a bench of one part,
/// there may be one file only.
///
/// # Errors
///
/// If all of the files are missing, or one is not what the bench writes.
pub fn pages(folder: &Path) -> Result<Vec<Page>> {
    let mut pages = Vec::new();
    let mut add = |name: &str, figure: String, table: String| {
        pages.push((format!("{name}.svg"), figure));
        pages.push((format!("{name}.md"), table));
    };
    if let Some(it) = read::<Pause>(folder, "pause")? {
        add("pause", pause_figure(&it), pause_table(&it));
    }
    if let Some(it) = read::<Growth>(folder, "connections")? {
        let table = table(&it, "connections", number);
        add("connections", connections_figure(&it), table);
    }
    if let Some(it) = read::<Growth>(folder, "size")? {
        add("size", size_figure(&it), table(&it, "size", bytes));
    }
    let at = folder.display();
    ensure!(!pages.is_empty(), "cannot draw from {at}: no figures ({ADVICE})");
    Ok(pages)
}

const ADVICE: &str = "to measure, run `cargo bench -p load --bench curves`";

/// What the bench has written, if it has.
fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>> {
    let path = folder.join(name).with_extension("json");
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text,
    };
    let text = text.with_context(|| {
        format!("cannot read {} ({ADVICE})", path.display())
    })?;
    serde_json::from_str(&text).map(Some).with_context(|| {
        format!("cannot use the figures in {} ({ADVICE})", path.display())
    })
}

// ---- One pause, measured twice

fn pause_figure(pause: &Pause) -> String {
    let Pause { closed, open, .. } = pause;
    let both = [("closed loop", closed), ("open loop", open)];
    // Short names leave room for the numbers below.
    let lines = [("closed", closed), ("open", open)];
    let lines = lines.map(|(name, measured)| Line {
        name: name.to_owned(),
        points: tail(measured),
    });
    let points = lines.iter().flat_map(|line| line.points.iter());
    let chart = Chart {
        id: "plot-pause".to_owned(),
        title: "Latency of a closed loop and of an open loop".to_owned(),
        alt: both.map(|(name, measured)| told(name, measured)).join(" "),
        x: tail_axis(points.clone().map(|point| point.0)),
        y: Axis::decades("latency", points.map(|point| point.1), time),
        lines: lines.into(),
        is_marked: false,
    };
    let caption = format!(
        "One pause of {} s, measured twice. One step to the right: a tenth as \
         many requests are slower. The last mark of a line is its slowest \
         request.",
        pause.pause
    );
    figure(&[chart], &caption)
}

/// More of them would not find room.
const TAIL: [f64; 6] = [0.0, 90.0, 99.0, 99.9, 99.99, 99.999];

fn tail_axis(percents: impl Iterator<Item = f64>) -> Axis {
    let most = percents.fold(0.0, f64::max);
    let last = TAIL.iter().position(|&tick| tick >= most);
    let shown = &TAIL[..=last.unwrap_or(TAIL.len() - 1)];
    let ticks = shown.iter().map(|&tick| (tick, tick.to_string()));
    Axis {
        name: "percent of the requests: at most this long".to_owned(),
        scale: Scale::Tail,
        ticks: ticks.collect(),
    }
}

/// The curve without what an axis of this kind cannot show: 100 % would be
/// infinitely far away, so the slowest request stands where it begins.
fn tail(measured: &Loop) -> Vec<(f64, f64)> {
    let most = 100.0 - 100.0 / measured.requests.max(10) as f64;
    let most = most.min(TAIL[TAIL.len() - 1]);
    let curve = measured.latency_curve.iter();
    let mut points: Vec<(f64, f64)> =
        curve.map(|&(percent, us)| (percent.min(most), us)).collect();
    points.retain(|point| point.1 > 0.0);
    points
}

fn told(name: &str, measured: &Loop) -> String {
    let at = |key| time(measured.latency_us.get(key).copied().unwrap_or(0.0));
    format!(
        "{name}: half of the requests took at most {}, 99 % {}, all {}.",
        at("p50"),
        at("p99"),
        at("max")
    )
}

fn pause_table(pause: &Pause) -> String {
    let both = [&pause.closed, &pause.open];
    let row = |name: &str, cell: &dyn Fn(&Loop) -> String| {
        format!("| {name} | {} | {} |\n", cell(both[0]), cell(both[1]))
    };
    let mut table = format!(
        "{}:\n\n| | closed loop | open loop |\n| --- | ---: | ---: |\n",
        pause.machine
    );
    table += &row("requests", &|measured| number(measured.requests as f64));
    for (key, name) in [
        ("p50", "p50"),
        ("p90", "p90"),
        ("p99", "p99"),
        ("p99_9", "p99.9"),
        ("max", "slowest"),
    ] {
        table += &row(name, &|measured| {
            time(measured.latency_us.get(key).copied().unwrap_or(0.0))
        });
    }
    table
}

// ---- How the cost grows

fn connections_figure(growth: &Growth) -> String {
    let xs = values(growth, |point| point.x as f64);
    let rates = values(growth, kilo_rate);
    let x = Axis::decades("connections", xs.into_iter(), number);
    let y = Axis::from_zero(THOUSANDS, rates.into_iter());
    let caption = "What more connections cost: 64 bytes each, and each \
                   connection has one request in flight.";
    growth_figure(growth, "connections", [x, y], caption)
}

const THOUSANDS: &str = "thousand requests a second";

fn size_figure(growth: &Growth) -> String {
    let mut xs = values(growth, |point| point.x as f64);
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let ticks = xs.into_iter().map(|x| (x, bytes(x))).collect();
    let scale = Scale::Log;
    let x = Axis { name: "size of a request".to_owned(), scale, ticks };
    let rates = values(growth, kilo_rate);
    let y = Axis::half_decades(THOUSANDS, rates.into_iter(), number);
    let caption = "What larger requests cost: 50 connections, and each has \
                   one request in flight.";
    growth_figure(growth, "size", [x, y], caption)
}

fn growth_figure(
    growth: &Growth,
    name: &str,
    [x, y]: [Axis; 2],
    caption: &str,
) -> String {
    let p99s = values(growth, p99);
    let latency = Axis::decades("p99 of the latency", p99s.into_iter(), time);
    let rates = Kind { name: "rate", value: kilo_rate, text: number };
    let p99s = Kind { name: "p99", value: p99, text: time };
    let charts = [
        chart(growth, name, &rates, [x.clone(), y]),
        chart(growth, name, &p99s, [x, latency]),
    ];
    figure(&charts, caption)
}

/// What a chart shows of each point.
struct Kind {
    name: &'static str,
    value: fn(&Point) -> f64,
    text: fn(f64) -> String,
}

fn chart(growth: &Growth, by: &str, kind: &Kind, [x, y]: [Axis; 2]) -> Chart {
    Chart {
        id: format!("plot-{by}-{}", kind.name),
        title: format!("{}, by {}", y.name, x.name),
        alt: ends(growth, kind),
        x,
        y,
        lines: lines(growth, kind.value),
        is_marked: true,
    }
}

/// The ends of the lines in words. All numbers are in the table.
fn ends(growth: &Growth, kind: &Kind) -> String {
    let mut text = "The table below has the numbers.".to_owned();
    for Server { name, points } in &growth.servers {
        if let (Some(first), Some(last)) = (points.first(), points.last()) {
            let [from, to] = [first, last].map(|point| {
                let value = (kind.text)((kind.value)(point));
                format!("{value} at {}", number(point.x as f64))
            });
            text += &format!(" {name}: {from}, {to}.");
        }
    }
    text
}

fn lines(growth: &Growth, value: fn(&Point) -> f64) -> Vec<Line> {
    let servers = growth.servers.iter();
    let lines = servers.map(|server| Line {
        name: server.name.clone(),
        points: server.points.iter().map(|p| (p.x as f64, value(p))).collect(),
    });
    lines.filter(|line| !line.points.is_empty()).collect()
}

/// The middle one of these values; of an even number, the upper middle one.
/// `NAN` if there is none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn values(growth: &Growth, value: fn(&Point) -> f64) -> Vec<f64> {
    let servers = growth.servers.iter();
    servers.flat_map(|server| server.points.iter().map(value)).collect()
}

fn rate(point: &Point) -> f64 {
    median(&point.requests_per_second)
}

fn kilo_rate(point: &Point) -> f64 {
    rate(point) / 1000.0
}

fn p99(point: &Point) -> f64 {
    median(&point.p99_us)
}

/// Two tables, of the rate and of p99: a row for each x, and a column for each
/// server.
fn table(growth: &Growth, x: &str, label: fn(f64) -> String) -> String {
    let mut text = format!(
        "{}. Medians, and in brackets the least and the most of the rounds.\n",
        growth.machine
    );
    for what in &growth.left_out {
        text += &format!("Left out: {what}.\n");
    }
    let rates = |point: &Point| spread(&point.requests_per_second, thousands);
    text += "\nThousand requests a second:\n";
    text += &grid(growth, (x, label), rates);
    let p99s = |point: &Point| spread(&point.p99_us, time);
    text += "\nThe time in which 99 % of the replies came:\n";
    text + &grid(growth, (x, label), p99s)
}

fn grid(
    growth: &Growth,
    (title, label): (&str, fn(f64) -> String),
    cell: fn(&Point) -> String,
) -> String {
    let mut xs: Vec<u64> = growth
        .servers
        .iter()
        .flat_map(|server| server.points.iter().map(|point| point.x))
        .collect();
    xs.sort_unstable();
    xs.dedup();
    let names = growth.servers.iter().map(|server| &*server.name);
    let names: Vec<&str> = names.collect();
    let mut text = format!("\n| {title} | {} |\n", names.join(" | "));
    text += &format!("| ---: {}|\n", "| ---: ".repeat(names.len()));
    for x in xs {
        let cells = growth.servers.iter().map(|server| {
            let found = server.points.iter().find(|point| point.x == x);
            found.map_or_else(|| "–".to_owned(), cell)
        });
        let cells: Vec<String> = cells.collect();
        text += &format!("| {} | {} |\n", label(x as f64), cells.join(" | "));
    }
    text
}

/// The median, and the least and the most if there are several.
fn spread(values: &[f64], text: fn(f64) -> String) -> String {
    let least = values.iter().copied().fold(f64::MAX, f64::min);
    let most = values.iter().copied().fold(f64::MIN, f64::max);
    let middle = text(median(values));
    match values.len() {
        0 | 1 => middle,
        _ => {
            let (least, most) = (text(least), text(most));
            let unit = |text: &str| {
                text.trim_start_matches(|c: char| {
                    c.is_ascii_digit() || ".\u{a0}".contains(c)
                })
                .to_owned()
            };
            let least = match unit(&least) == unit(&most) {
                true => least.trim_end_matches(&unit(&most)).trim_end(),
                false => &least,
            };
            format!("{middle} ({least}–{most})")
        }
    }
}

// ---- Numbers for people

/// Three digits that count, and a space that does not break after thousands.
fn number(value: f64) -> String {
    if value < 10.0 {
        return ((value * 10.0).round() / 10.0).to_string();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

fn thousands(value: f64) -> String {
    number(value / 1000.0)
}

fn bytes(value: f64) -> String {
    match value {
        value if value < 1024.0 => format!("{value} B"),
        value => format!("{} KiB", value / 1024.0),
    }
}

/// A time in microseconds, with its unit.
fn time(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 1e3 => (us, "µs"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    format!("{}\u{a0}{unit}", number(value))
}
