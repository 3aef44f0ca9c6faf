//! Reads a finished picture back, so that a test can compare what it shows
//! with what was seen. This knows nothing of the code that draws.

use std::collections::HashMap;
use std::fmt::Debug;

use regex::Regex;

/// An element of a picture.
#[derive(Clone, Debug)]
pub struct Shape {
    pub tag: String,
    pub text: String,
    attributes: HashMap<String, String>,
}

impl Shape {
    pub fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", |value| value)
    }

    /// A number; without it, one that is equal to none.
    pub fn at(&self, name: &str) -> f64 {
        self.get(name).parse().unwrap_or(f64::NAN)
    }

    /// Has it this tag, and all these classes?
    pub fn is(&self, tag: &str, classes: &str) -> bool {
        let has =
            |class| self.get("class").split(' ').any(|other| other == class);
        self.tag == tag && classes.split(' ').all(has)
    }

    /// The end whose colour it has.
    pub fn side(&self) -> &'static str {
        let sides = ["client", "server"].into_iter();
        let mut sides = sides.filter(|side| self.is(&self.tag, side));
        sides.next().unwrap_or("")
    }

    /// Where a line, or an arrow that is a path, starts and ends.
    pub fn ends(&self) -> [[f64; 2]; 2] {
        if self.tag == "line" {
            return [["x1", "y1"], ["x2", "y2"]]
                .map(|end| end.map(|name| self.at(name)));
        }
        let end = |part: &str| {
            let mut numbers = part.split([' ', 'L']);
            [(); 2].map(|()| numbers.next().unwrap().parse().unwrap())
        };
        let ends: Vec<_> = self.get("d").split('M').skip(1).map(end).collect();
        ends.try_into().unwrap()
    }
}

/// All that is drawn, without the heads that arrows share.
pub fn shapes(svg: &str) -> Vec<Shape> {
    let svg = Regex::new("<defs>.*</defs>").unwrap().replace(svg, "");
    let element = r"<(line|rect|circle|text|path) ([^>]*)>([^<]*)";
    let attribute = Regex::new(r#"([a-z0-9-]+)="([^"]*)""#).unwrap();
    let element = Regex::new(element).unwrap();
    let shape = |found: regex::Captures| Shape {
        tag: found[1].to_owned(),
        text: unescape(&found[3]),
        attributes: attribute
            .captures_iter(&found[2])
            .map(|pair| (pair[1].to_owned(), pair[2].to_owned()))
            .collect(),
    };
    element.captures_iter(&svg).map(shape).collect()
}

/// What a picture says to those who do not see it.
pub fn description(svg: &str) -> String {
    let text =
        svg.split("<desc").nth(1).and_then(|rest| rest.split('>').nth(1));
    unescape(text.unwrap().trim_end_matches("</desc"))
}

/// The cells of each row below the head of a table, as text.
pub fn rows(table: &str) -> Vec<Vec<String>> {
    let cell = Regex::new("<t[hd][^>]*>(.*?)</t[hd]>").unwrap();
    let tag = Regex::new("<[^>]+>").unwrap();
    let text = |html: &str| unescape(&tag.replace_all(html, ""));
    let body = table.split("<tbody>").nth(1).unwrap();
    let rows = body.lines().filter(|line| line.starts_with("<tr"));
    rows.map(|row| cell.captures_iter(row).map(|c| text(&c[1])).collect())
        .collect()
}

/// Each byte that is written in hexadecimal in a band, with the classes around
/// it, the innermost last; and after how many of them a bar stands.
pub fn hex(html: &str) -> (Vec<(u8, String)>, Option<usize>) {
    let tags = r#"<span class="(\w+)">|(</span>)|(<b>\|</b>)|<[^>]*>"#;
    let token = format!(r"{tags}|\b([0-9a-f]{{2}})\b");
    let (mut classes, mut bytes, mut bar) = (Vec::new(), Vec::new(), None);
    for found in Regex::new(&token).unwrap().captures_iter(html) {
        if let Some(class) = found.get(1) {
            classes.push(class.as_str());
        } else if found.get(2).is_some() {
            classes.pop();
        } else if found.get(3).is_some() {
            bar = Some(bytes.len());
        } else if let Some(byte) = found.get(4)
            && !classes.is_empty()
        {
            let byte = u8::from_str_radix(byte.as_str(), 16).unwrap();
            bytes.push((byte, classes.join(" ")));
        }
    }
    (bytes, bar)
}

/// Each byte of a frame, with the band in which it belongs.
pub fn banded(frame: &[u8]) -> Vec<(u8, String)> {
    let band = |i| match i {
        0..4 => "length",
        4 => "kind",
        _ => "payload",
    };
    let bytes = frame.iter().enumerate();
    bytes.map(|(i, &byte)| (byte, band(i).to_owned())).collect()
}

fn unescape(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&lt;", "<").replace("&amp;", "&")
}

/// An error, unless the picture shows what was seen.
pub fn same<T: Debug + PartialEq>(
    what: &str,
    shown: T,
    seen: T,
) -> Result<(), String> {
    match shown == seen {
        true => Ok(()),
        false => Err(format!("{what}: shown {shown:?}\nbut seen {seen:?}")),
    }
}
