//! What a program printed last.

use crate::diagnosis::show;
use crate::program::running::Program;

/// What a program printed last, as far as it is news.
pub fn last_words(program: &Program) -> Vec<String> {
    let lines = program.last_lines(4);
    let lines = lines.iter().map(|line| show::line(line));
    // That it listens is known; Python underlines its source, and names the
    // file in a line of its own.
    let is_news = |line: &String| {
        !line.starts_with("listening on ")
            && !line.trim_start().starts_with("File \"")
            && !line.starts_with("Traceback (most recent")
            && !line.trim_matches([' ', '^', '~']).is_empty()
    };
    let lines: Vec<String> = lines.filter(is_news).collect();
    lines[lines.len().saturating_sub(2)..].to_vec()
}
