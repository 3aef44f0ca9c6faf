//! The names of cases, as the matrix prints them.

use check::{LAST_STEP, Side, cases};

use crate::defects::DEFECTS;

/// These cases, where three or more in a row are `S4-02–19`; but one stands
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
        [first, _, .., last] => vec![format!("{first}–{}", &last[3..])],
        few => few.iter().map(|id| (*id).to_owned()).collect(),
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
