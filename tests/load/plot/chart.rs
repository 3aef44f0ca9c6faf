//! Draws charts as SVG that takes its colours and its font from the page: see
//! `.plot` in book/assets/pictures.css. Lines differ in dash and mark, too.

use std::fmt::Write;

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 48.0; // room for the numbers
const TOP: f64 = 26.0; // for the name of the vertical axis
const BOTTOM: f64 = 40.0; // for the numbers and the name of the other axis
const LETTER: f64 = 6.6; // the width of a letter, about
const APART: f64 = 14.0; // two labels, at least

/// The classes of the lines. Each has a mark of its own, too.
const CLASSES: [&str; 4] = ["a", "b", "c", "d"];

/// The mark of a line's points. All coordinates are absolute, because that is
/// what tests/browser compares with what it sees.
fn mark(class: &str, (x, y): (f64, f64)) -> String {
    let corners: &[(f64, f64)] = match class {
        "a" => {
            return format!(
                "<circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"
            );
        }
        "b" => &[(-2.8, -2.8), (2.8, -2.8), (2.8, 2.8), (-2.8, 2.8)],
        "c" => &[(0.0, -3.6), (3.6, 2.8), (-3.6, 2.8)],
        _ => &[(0.0, -3.8), (3.8, 0.0), (0.0, 3.8), (-3.8, 0.0)],
    };
    let corners = corners.iter().map(|(right, down)| (x + right, y + down));
    format!("<path class=\"mark\" d=\"{}z\"/>", path(corners))
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let points = points.map(|(x, y)| format!("{x:.1} {y:.1}"));
    format!("M{}", points.collect::<Vec<_>>().join("L"))
}

/// How a value becomes a place on an axis.
#[derive(Clone, Copy)]
pub enum Scale {
    Linear,
    /// Ten times as much is always as far.
    Log,
    /// Percent below 100: a tenth of what is left is always as far.
    Tail,
}

impl Scale {
    fn of(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::Log => value.log10(),
            Scale::Tail => -(1.0 - value / 100.0).log10(),
        }
    }
}

/// An axis from its first tick to its last.
#[derive(Clone)]
pub struct Axis {
    pub name: String,
    pub scale: Scale,
    /// Values, rising, and what is written at each.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Powers of ten around all these values, which are above 0.
    pub fn decades(
        name: &str,
        values: impl Iterator<Item = f64>,
        text: fn(f64) -> String,
    ) -> Axis {
        Axis::powers(name, values, text, &[1.0])
    }

    /// The same with the three of each decade (10, 30, 100), so that an axis
    /// of few decades ends closer to its values.
    pub fn half_decades(
        name: &str,
        values: impl Iterator<Item = f64>,
        text: fn(f64) -> String,
    ) -> Axis {
        Axis::powers(name, values, text, &[1.0, 3.0])
    }

    /// From the last of these `steps` of a decade that is not above the least
    /// value, to the first that is not below the greatest.
    fn powers(
        name: &str,
        values: impl Iterator<Item = f64>,
        text: fn(f64) -> String,
        steps: &[f64],
    ) -> Axis {
        let (least, most) = values
            .fold((f64::MAX, f64::MIN_POSITIVE), |(least, most), value| {
                (least.min(value), most.max(value))
            });
        let least = least.min(most);
        let exponent = |value: f64| value.log10().floor() as i32;
        let all: Vec<f64> = (exponent(least)..=exponent(most) + 2)
            .flat_map(|power| {
                steps.iter().map(move |step| step * 10_f64.powi(power))
            })
            .collect();
        let first = all.iter().rposition(|&tick| tick <= least).unwrap_or(0);
        let last = all.iter().position(|&tick| tick >= most).unwrap_or(first);
        let ticks = all[first..=last.max(first + 1)].iter();
        let ticks = ticks.map(|&value| (value, text(value))).collect();
        Axis { name: name.to_owned(), scale: Scale::Log, ticks }
    }

    /// Round numbers from 0 to above all these values.
    pub fn from_zero(name: &str, values: impl Iterator<Item = f64>) -> Axis {
        let most = values.fold(f64::MIN_POSITIVE, f64::max);
        let unit = 10_f64.powf((most / 5.0).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * unit);
        let step = steps.into_iter().find(|step| step * 5.0 >= most);
        let step = step.unwrap_or(most);
        let count = (most / step).ceil() as i32;
        let ticks = (0..=count).map(|i| f64::from(i) * step);
        // 3 × 0.2 would be written as 0.6000000000000001.
        let text = |value: f64| ((value * 1e6).round() / 1e6).to_string();
        let ticks = ticks.map(|value| (value, text(value))).collect();
        Axis { name: name.to_owned(), scale: Scale::Linear, ticks }
    }

    /// The place of `value`: 0 is the first tick, 1 is the last.
    pub fn place(&self, value: f64) -> f64 {
        let at = |tick: Option<&(f64, String)>| {
            tick.map_or(0.0, |tick| self.scale.of(tick.0))
        };
        let (first, last) = (at(self.ticks.first()), at(self.ticks.last()));
        ((self.scale.of(value) - first) / (last - first)).clamp(0.0, 1.0)
    }
}

/// A line; its place in the chart decides its class and its mark.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// One chart, of at most four lines.
pub struct Chart {
    /// The start of the `id`s in it.
    pub id: String,
    /// What it shows, and its numbers in words, for those who do not see it.
    pub title: String,
    pub alt: String,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
    /// Are the points few, so that each has its mark? Otherwise the last has.
    pub is_marked: bool,
}

impl Chart {
    fn right(&self) -> f64 {
        let names = self.lines.iter().map(|line| line.name.chars().count());
        let longest = names.max().unwrap_or(0) as f64;
        WIDTH - 24.0 - LETTER * longest
    }

    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let down = HEIGHT - BOTTOM;
        (
            LEFT + self.x.place(x) * (self.right() - LEFT),
            down - self.y.place(y) * (down - TOP),
        )
    }

    /// The SVG. No line of it is empty: that would end the HTML in a page.
    fn svg(&self) -> String {
        let Chart { id, title, alt, .. } = self;
        let mut svg = format!(
            "<svg role=\"img\" aria-labelledby=\"{id}-title {id}-desc\" \
             viewBox=\"0 0 {WIDTH} {HEIGHT}\">\n\
             <title id=\"{id}-title\">{title}</title>\n\
             <desc id=\"{id}-desc\">{alt}</desc>\n"
        );
        self.draw_y(&mut svg);
        self.draw_x(&mut svg);
        let places = self.label_places();
        let drawn: Vec<_> =
            self.lines.iter().zip(CLASSES).zip(places).collect();
        // The first line is ours: it is drawn last, above the others.
        for ((line, class), label) in drawn.into_iter().rev() {
            self.draw_line(&mut svg, line, class, label);
        }
        svg + "</svg>\n"
    }

    fn draw_y(&self, svg: &mut String) {
        let (right, down) = (self.right(), HEIGHT - BOTTOM);
        for (value, text) in &self.y.ticks {
            let y = down - self.y.place(*value) * (down - TOP);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" \
                 x2=\"{right:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick y\" x=\"{}\" y=\"{:.1}\">{text}</text>",
                LEFT - 6.0,
                y + 4.0
            );
        }
        let name = &self.y.name;
        let _ = writeln!(
            svg,
            "<text class=\"name y\" x=\"0\" y=\"14\">{name}</text>"
        );
    }

    fn draw_x(&self, svg: &mut String) {
        let (right, down) = (self.right(), HEIGHT - BOTTOM);
        for (value, text) in &self.x.ticks {
            let x = LEFT + self.x.place(*value) * (right - LEFT);
            let _ = writeln!(
                svg,
                "<line class=\"stub\" x1=\"{x:.1}\" y1=\"{down}\" \
                 x2=\"{x:.1}\" y2=\"{}\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{}\">{text}</text>",
                down + 4.0,
                down + 17.0
            );
        }
        let (x, y) = ((LEFT + right) / 2.0, HEIGHT - 5.0);
        let name = &self.x.name;
        let _ = writeln!(
            svg,
            "<text class=\"name\" x=\"{x:.1}\" y=\"{y}\">{name}</text>"
        );
    }

    fn draw_line(
        &self,
        svg: &mut String,
        line: &Line,
        class: &str,
        label: f64,
    ) {
        let points = line.points.iter().map(|&point| self.at(point));
        let points: Vec<(f64, f64)> = points.collect();
        let first = match self.is_marked {
            true => 0,
            false => points.len().saturating_sub(1),
        };
        let right = self.right();
        let mut marks = mark(class, (right + 15.0, label));
        for &point in &points[first..] {
            marks += &mark(class, point);
        }
        let _ = writeln!(
            svg,
            "<g class=\"{class}\"><path class=\"line\" d=\"{}\"/>{marks}\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            path(points.into_iter()),
            right + 23.0,
            label + 4.0,
            line.name
        );
    }

    /// The heights of the labels: at the ends of their lines, but apart.
    pub fn label_places(&self) -> Vec<f64> {
        let ends = self.lines.iter().map(|line| {
            let last = line.points.last().copied();
            self.at(last.unwrap_or_default()).1
        });
        let mut places: Vec<(usize, f64)> = ends.enumerate().collect();
        places.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut least = TOP;
        for (_, place) in &mut places {
            *place = place.max(least);
            least = *place + APART;
        }
        let mut most = HEIGHT - BOTTOM;
        for (_, place) in places.iter_mut().rev() {
            *place = place.min(most);
            most = *place - APART;
        }
        places.sort_by_key(|place| place.0);
        places.into_iter().map(|place| place.1).collect()
    }
}

/// A figure of charts, which stand side by side where there is room.
pub fn figure(charts: &[Chart], caption: &str) -> String {
    let svgs: String = charts.iter().map(Chart::svg).collect();
    format!(
        "<figure class=\"plot\">\n<div>\n{svgs}</div>\n\
         <figcaption>{caption}</figcaption>\n</figure>\n"
    )
}
