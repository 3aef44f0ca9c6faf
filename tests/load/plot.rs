//! Draws the figures of the book from what the bench `curves` has measured.
//!
//!     cargo run -p load --bin plot
//!
//! reads the JSON files in tests/bench/curves, and writes an SVG and a table
//! beside each that is there. The bench runs it at its end, so you need it only after you
//! have changed how a figure is drawn.

#[path = "plot/chart.rs"]
mod chart;
#[path = "plot/data.rs"]
mod data;
#[path = "plot/pages.rs"]
mod pages;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;

/// Draws the figures of the book from the measured JSON files.
#[derive(Parser)]
struct Arguments {
    /// The folder of the JSON files, in which the figures are written, too
    /// [default: tests/bench/curves]
    folder: Option<PathBuf>,
}

fn main() -> Result<()> {
    let Arguments { folder } = Arguments::parse();
    let folder = folder.unwrap_or_else(measured);
    for (name, text) in pages::pages(&folder)? {
        let path = folder.join(name);
        write(&path, &text)?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// The folder that the book includes.
fn measured() -> PathBuf {
    Path::new(env!("PROJECT")).join("tests/bench/curves")
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| {
        format!("cannot write {} (is the disk full?)", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chart::{Axis, Chart, Line, Scale};

    #[test]
    fn the_book_shows_what_was_measured() {
        let folder = measured();
        let pages = pages::pages(&folder).unwrap();
        assert_eq!(pages.len(), 6, "a JSON file is missing");
        for (name, text) in pages {
            let now = fs::read_to_string(folder.join(&name)).unwrap();
            assert!(
                now == text,
                "{name} is old: run `cargo run -p load --bin plot`"
            );
        }
    }

    /// After `cargo bench -p load --bench curves -- --quick pause`.
    #[test]
    fn a_part_that_was_not_measured_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        assert!(pages::pages(folder.path()).is_err(), "there is nothing");
        let (from, to) = (measured(), folder.path());
        fs::copy(from.join("pause.json"), to.join("pause.json")).unwrap();
        let pages = pages::pages(to).unwrap();
        let names: Vec<_> = pages.iter().map(|page| &*page.0).collect();
        assert_eq!(names, ["pause.svg", "pause.md"]);
    }

    /// An empty line would end the HTML in a page, and a place that is no
    /// number would draw nothing.
    #[test]
    fn a_figure_is_whole() {
        for (name, text) in pages::pages(&measured()).unwrap() {
            if name.ends_with(".svg") {
                assert!(!text.contains("\n\n"), "{name}");
                assert!(!text.contains("NaN"), "{name}");
                assert!(!text.contains("inf"), "{name}");
                for tag in ["figure", "svg", "g", "title", "desc", "text"] {
                    let open = text.matches(&format!("<{tag} ")).count()
                        + text.matches(&format!("<{tag}>")).count();
                    let close = text.matches(&format!("</{tag}>")).count();
                    assert_eq!(open, close, "{tag} in {name}");
                }
            }
        }
    }

    fn chart(ends: &[f64]) -> Chart {
        let lines = ends.iter().map(|&end| Line {
            name: format!("at {end}"),
            points: vec![(1.0, 1.0), (100.0, end)],
        });
        let name = String::new();
        Chart {
            id: "id".to_owned(),
            title: name.clone(),
            alt: name.clone(),
            x: Axis::decades(&name, [1.0, 100.0].into_iter(), |x| {
                x.to_string()
            }),
            y: Axis::from_zero(&name, ends.iter().copied()),
            lines: lines.collect(),
            is_marked: true,
        }
    }

    /// Labels of lines that end at one height, at the top and at the bottom.
    #[test]
    fn labels_do_not_cover_each_other() {
        for ends in [[9.0, 9.0, 9.0, 9.0], [0.1, 0.0, 0.2, 5.0]] {
            let mut places = chart(&ends).label_places();
            places.sort_by(f64::total_cmp);
            for pair in places.windows(2) {
                assert!(pair[1] - pair[0] > 13.9, "{places:?}");
            }
            assert!(places[0] >= 26.0 && places[3] <= 190.1, "{places:?}");
        }
    }

    #[test]
    fn an_axis_covers_its_values_with_round_numbers() {
        let ticks = |axis: Axis| -> Vec<String> {
            axis.ticks.into_iter().map(|tick| tick.1).collect()
        };
        let from_zero = |most| ticks(Axis::from_zero("", [most].into_iter()));
        assert_eq!(from_zero(97.0), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(from_zero(0.9), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(from_zero(101.0), ["0", "50", "100", "150"]);
        let decades = |values: [f64; 2]| {
            ticks(Axis::decades("", values.into_iter(), |x| x.to_string()))
        };
        assert_eq!(decades([3.0, 140.0]), ["1", "10", "100", "1000"]);
        assert_eq!(decades([10.0, 10.0]), ["10", "100"]);
        assert_eq!(decades([1.0, 1000.0]), ["1", "10", "100", "1000"]);
        let halves = |values: [f64; 2]| {
            let text = |x: f64| x.to_string();
            ticks(Axis::half_decades("", values.into_iter(), text))
        };
        assert_eq!(halves([10.0, 250.0]), ["10", "30", "100", "300"]);
        assert_eq!(halves([4.0, 11.0]), ["3", "10", "30"]);
        assert_eq!(halves([30.0, 30.0]), ["30", "100"]);
    }

    #[test]
    fn a_place_on_an_axis_follows_its_scale() {
        let place = |scale, ticks: [f64; 2], value| {
            let ticks = ticks.map(|tick| (tick, String::new())).into();
            Axis { name: String::new(), scale, ticks }.place(value)
        };
        assert_eq!(place(Scale::Linear, [0.0, 4.0], 1.0), 0.25);
        assert_eq!(place(Scale::Log, [1.0, 1e4], 100.0), 0.5);
        let tail = place(Scale::Tail, [0.0, 99.99], 99.0);
        assert!((tail - 0.5).abs() < 1e-6, "{tail}");
        assert_eq!(place(Scale::Log, [1.0, 1e4], 1e9), 1.0, "not outside");
    }
}
