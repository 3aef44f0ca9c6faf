//! CSV for spreadsheets (RFC 4180): lines end with CR LF, and a cell that
//! needs it is in quotation marks.

use crate::report::Obstacle;
use crate::report::Report;

/// A spreadsheet takes a cell that begins with one of these for a formula
/// (CWE-1236), and a submission may choose its name.
const FORMULA: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];

/// One line of cells.
pub fn line<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let cells: Vec<String> = cells.into_iter().map(cell).collect();
    cells.join(",") + "\r\n"
}

fn cell(text: &str) -> String {
    let is_formula = text.starts_with(FORMULA);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

/// A line for each case.
pub fn csv(report: &Report) -> String {
    let head = ["case", "title", "verdict", "points", "max_points", "reason"];
    let mut text = line(head);
    for result in &report.results {
        let (case, verdict) = (result.case, &result.verdict);
        text += &line([
            case.id,
            case.title,
            verdict.name(),
            &report.points(result).to_string(),
            &case.weight().to_string(),
            verdict.reason(),
        ]);
    }
    let why = report.obstacle.as_ref().map(Obstacle::line);
    let why = why.unwrap_or_default();
    for case in &report.left_out {
        let most = case.weight().to_string();
        text += &line([case.id, case.title, "not tried", "0", &most, &why]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_neither_a_formula_nor_two_cells() {
        for (text, cell) in [
            ("anna", "anna"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@a", "'@a"),
            ("\tx", "'\tx"),
            ("\r\nx", "\"'\r\nx\""),
            ("a\nb", "\"a\nb\""),
        ] {
            assert_eq!(line([text]), format!("{cell}\r\n"));
        }
    }
}
