//! The bytes of frames as HTML: length, kind and payload have a band each.
//! The colours are in `book/assets/pictures.css`.

use std::ops::Range;

/// Two hexadecimal digits for each byte.
fn hex(bytes: &[u8]) -> String {
    let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
    hex.collect::<Vec<_>>().join(" ")
}

fn band(class: &str, text: &str) -> String {
    format!("<span class=\"{class}\">{text}</span>")
}

/// The bands of a part of one frame, and of no more than that part.
pub fn part(frame: &[u8], part: Range<usize>) -> String {
    let bands = [("length", 0, 4), ("kind", 4, 5), ("payload", 5, frame.len())];
    let bands = bands.map(|(class, from, to)| {
        (class, from.max(part.start)..to.min(part.end))
    });
    let bands = bands.iter().filter(|(_, range)| !range.is_empty());
    let bands =
        bands.map(|(class, range)| band(class, &hex(&frame[range.clone()])));
    bands.collect::<Vec<_>>().join(" ")
}

/// The bands of a whole frame; of a long payload only the start.
pub fn whole(frame: &[u8]) -> String {
    const START: usize = 5 + 16;
    match frame.len() > START {
        true => format!("{} …", part(frame, 0..START)),
        false => part(frame, 0..frame.len()),
    }
}

/// Frames one behind the other. A `|` marks where the first read ends; of the
/// bytes before it, the program has used some and kept the others.
pub fn cut(frames: &[&[u8]], used: usize, cut: usize) -> String {
    let mut text = String::new();
    let mut start = 0;
    for frame in frames {
        let end = start + frame.len();
        let split = cut.clamp(start, end) - start;
        if start > 0 && start != cut {
            text += " ";
        }
        if split > 0 {
            let class = if end <= used { "used" } else { "kept" };
            text += &band(class, &part(frame, 0..split));
        }
        if (start + 1..=end).contains(&cut) {
            text += "<b>|</b>";
        }
        if split < frame.len() {
            text += &band("later", &part(frame, split..frame.len()));
        }
        start = end;
    }
    text
}

/// A table with frames in it. `rows` hold whole rows.
pub fn figure(class: &str, columns: &[&str], rows: &str, note: &str) -> String {
    let columns = columns
        .iter()
        .map(|column| format!("<th scope=\"col\">{column}</th>"))
        .collect::<String>();
    format!(
        "<figure class=\"bytes {class}\">\n<figcaption>{note}</figcaption>\n\
         <div class=\"table-wrapper\">\n<table>\n<thead><tr>{columns}</tr>\
         </thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n</figure>"
    )
}

/// One whole frame in each row: whose it is, and what its bytes are.
pub fn frames<'a>(rows: impl Iterator<Item = (String, &'a [u8])>) -> String {
    let rows = rows.map(|(from, frame)| {
        let length = frame[..4].try_into().unwrap();
        assert_eq!(u32::from_be_bytes(length) as usize, frame.len() - 4);
        let cells = [0..4, 4..5, 5..frame.len()]
            .map(|range| format!("<td>{}</td>", part(frame, range)));
        let text = escape(&String::from_utf8_lossy(&frame[5..]));
        format!(
            "<tr><th scope=\"row\" class=\"{from}\">{from}</th>{}\
             <td>{text}</td></tr>\n",
            cells.concat()
        )
    });
    let columns = [
        "from",
        "<span class=\"length\">length N</span>",
        "<span class=\"kind\">kind</span>",
        "<span class=\"payload\">payload</span>",
        "as text",
    ];
    let rows: String = rows.collect();
    figure("whole", &columns, &rows, "Each row is a frame, byte for byte.")
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
