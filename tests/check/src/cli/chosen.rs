//! The cases that a command line asks for.

use anyhow::{Context, Result, bail};

use crate::case::Case;
use crate::cases;
use crate::cli::options::How;
use crate::traits::Side;

/// The cases that are asked for.
///
/// # Errors
/// A case does not exist, or does not apply to this step.
pub fn chosen(side: Side, step: u8, how: &How) -> Result<Vec<&'static Case>> {
    let cases = cases::of(side, step);
    if how.only.is_empty() {
        return Ok(cases);
    }
    let mut chosen = Vec::new();
    for id in &how.only {
        let case = cases::find(id).with_context(|| {
            format!("cannot find a case called {id}: --list shows them all")
        })?;
        if !cases.iter().any(|other| other.id == case.id) {
            let side = side.name();
            bail!(
                "cannot try a {side} of step{step} with {}: that case does not \
                 apply to it; --list shows those that do",
                case.id
            );
        }
        if !chosen.iter().any(|other: &&Case| other.id == case.id) {
            chosen.push(case);
        }
    }
    Ok(chosen)
}
