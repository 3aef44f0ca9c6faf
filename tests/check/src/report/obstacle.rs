//! Why the checker could not try any case: it says so once, and not for each
//! case.

use crate::diagnosis::show;

/// What kept us from trying anything.
pub struct Obstacle {
    /// `the server did not start`
    pub what: String,
    /// The command that starts it; empty if the checker does not start it.
    pub command: String,
    /// A sentence each, or a line that it printed.
    pub why: Vec<String>,
}

impl Obstacle {
    /// What and why, a line each.
    pub fn lines(&self) -> Vec<&str> {
        let what = std::iter::once(&self.what);
        what.chain(&self.why).map(String::as_str).collect()
    }

    /// Why, in one line.
    pub fn reason(&self) -> String {
        let lines: Vec<_> = self.why.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }

    /// What and why, in one line.
    pub fn line(&self) -> String {
        format!("{}: {}", self.what, self.reason())
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("✗ {}\n", self.what);
        if !self.command.is_empty() {
            let command = show::line(self.command.as_bytes());
            text += &format!("    command   {command}\n");
        }
        for line in &self.why {
            let lines = match line.strip_prefix("  | ") {
                Some(line) => show::fold(line, 62)
                    .into_iter()
                    .map(|part| format!("  | {part}"))
                    .collect(),
                None => show::wrap(line, 66),
            };
            lines.iter().for_each(|line| text += &format!("    {line}\n"));
        }
        text
    }
}
