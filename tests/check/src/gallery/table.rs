//! The names of cases, as the matrix prints them.

use std::collections::BTreeSet;

use check::{LAST_STEP, Side, cases};

use crate::defects::{DEFECTS, Defect};

/// The first two cells of a defect's row. The page of cases links to it, and
/// a defect's name alone may be there twice.
pub fn head(defect: &Defect) -> String {
    let Defect { case, name, what, .. } = defect;
    let case = case.to_lowercase();
    format!("| <a id=\"{case}-{name}\"></a>`{name}` | {what}")
}

/// Where the names in brackets lead, a run of cases to its first one: Markdown
/// looks the links up below the tables, so that you can read the tables in a
/// terminal.
pub fn links(tables: &str) -> String {
    let names = tables.split('[').skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once(']')?;
        Some(name)
    });
    let names: BTreeSet<&str> = names.collect();
    let links = names.into_iter().map(|name| {
        let first = name.split('–').next().unwrap_or(name);
        format!("[{name}]: cases.md#{}\n", first.to_lowercase())
    });
    links.collect()
}

/// These cases, where three or more in a row are `[S4-02–19]`; but one stands
/// alone.
pub fn in_short(ids: &[&str], alone: &str) -> Vec<String> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    let number = |id: &str| id[3..].parse::<u32>().unwrap_or(0);
    let follows = |a: &&str, b: &&str| {
        let is_next = a[..3] == b[..3] && number(a) + 1 == number(b);
        is_next && *a != alone && *b != alone
    };
    let runs = ids.chunk_by(follows).flat_map(|run| match run {
        [first, _, .., last] => vec![format!("[{first}–{}]", &last[3..])],
        few => few.iter().map(|id| format!("[{id}]")).collect(),
    });
    runs.collect()
}

/// With which cases the defects of each side and step were tried: the columns
/// of the matrix.
pub fn columns() -> String {
    let mut text = String::from(
        "| defects of a | were tried with these cases |\n| --- | --- |\n",
    );
    for side in [Side::Server, Side::Client] {
        for step in 1..=LAST_STEP {
            let name = side.name();
            if DEFECTS.iter().any(|d| d.side() == name && d.step == step) {
                let ids: Vec<&str> =
                    cases::of(side, step).iter().map(|case| case.id).collect();
                let ids = in_short(&ids, "").join(" ");
                text += &format!("| {name} of step {step} | {ids} |\n");
            }
        }
    }
    text
}
