//! The matrix of an interop day: servers down, clients across.

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use crate::diagnosis::show;
use crate::interop::{Cell, Mark};
use crate::report::csv_line;
use crate::traits::Side;

/// A form of the matrix.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// The matrix, and the reason of each failure
    Text,
    /// A line for each pair, for a spreadsheet
    Csv,
    /// One object with all pairs, printed at the end
    Json,
}

/// The widest line of a reason.
const WIDTH: usize = 76;

pub struct Matrix {
    pub step: u8,
    pub seed: u64,
    pub servers: Vec<String>,
    pub clients: Vec<String>,
    /// A row for each server, as far as it is there.
    pub cells: Vec<Vec<Cell>>,
}

impl Matrix {
    /// What comes before the first row.
    pub fn head(&self, form: Form) -> String {
        match form {
            Form::Json => String::new(),
            Form::Csv => csv_line(["server", "client", "result", "reason"]),
            Form::Text => {
                let numbers = (1..=self.clients.len()).map(|n| n.to_string());
                format!(
                    "step{}: {} (down) with {} (across)\n\n{}",
                    self.step,
                    count(self.servers.len(), "server"),
                    count(self.clients.len(), "client"),
                    self.line("", numbers, "right")
                )
            }
        }
    }

    /// Takes the next row, and says it: a Ctrl-C costs none that was said.
    pub fn add(&mut self, row: Vec<Cell>, form: Form) -> String {
        let name = &self.servers[self.cells.len()];
        let text = match form {
            Form::Json => String::new(),
            Form::Csv => self.lines(name, &row),
            Form::Text => {
                let signs = row.iter().map(|cell| cell.mark.sign().to_string());
                let end = format!("{}/{}", right(&row), row.len());
                self.line(name, signs, &end)
            }
        };
        self.cells.push(row);
        text
    }

    /// What comes after the last row.
    pub fn foot(&self, form: Form) -> String {
        match form {
            Form::Json => self.json(),
            Form::Csv => String::new(),
            Form::Text => self.sums(),
        }
    }

    /// Each client has a number, because thirty names would not fit.
    fn sums(&self) -> String {
        let column = |i: usize| {
            let column = self.cells.iter().filter(|row| row[i].is_right());
            column.count().to_string()
        };
        let columns = (0..self.clients.len()).map(column);
        let mut text = self.line("right", columns, "");
        text.push('\n');
        let digits = self.digits();
        for (i, name) in self.clients.iter().enumerate() {
            text += &format!("client {:>digits$} is {name}\n", i + 1);
        }
        text += "\n✓ right reply, and the server serves on   ✗ wrong   … the \
                 client hangs\n! the server ended, or serves no more   - not \
                 tried   ? machine too busy\n";
        text += &self.reasons();
        let right = self.cells.iter().map(|row| right(row)).sum::<usize>();
        let pairs = self.servers.len() * self.clients.len();
        let pairs = count(pairs, "pair");
        text + &format!("\n{right} of {pairs}, seed {}\n", self.seed)
    }

    /// How many columns the number of a client takes.
    fn digits(&self) -> usize {
        let most = self.clients.len().max(self.servers.len());
        most.to_string().len()
    }

    fn line(
        &self,
        name: &str,
        fields: impl Iterator<Item = String>,
        end: &str,
    ) -> String {
        let width = self.servers.iter().map(|name| name.width()).max();
        let gap = width.unwrap_or(0).max(7).saturating_sub(name.width());
        let digits = self.digits();
        let fields: String =
            fields.map(|field| format!(" {field:>digits$}")).collect();
        let line = format!("{name}{} {fields}   {end}", " ".repeat(gap));
        format!("{}\n", line.trim_end())
    }

    /// Why each pair failed. What is missing in a whole row or a whole
    /// column is said once.
    fn reasons(&self) -> String {
        let mut text = String::new();
        let mut say = |head: String, why: &[String]| {
            text += &format!("\n{head}\n");
            why.iter().for_each(|line| text += &indented(line));
        };
        for (name, row) in self.servers.iter().zip(&self.cells) {
            if let Some(why) = missing(Side::Server, row.iter()) {
                say(format!("- the server of {name}"), why);
            }
        }
        for (i, name) in self.clients.iter().enumerate() {
            let column = self.cells.iter().map(|row| &row[i]);
            if let Some(why) = missing(Side::Client, column) {
                say(format!("- the client of {name}"), why);
            }
        }
        for (server, row) in self.servers.iter().zip(&self.cells) {
            for (client, cell) in self.clients.iter().zip(row) {
                if !matches!(cell.mark, Mark::Right | Mark::Untried) {
                    let sign = cell.mark.sign();
                    let head = format!("server {server}, client {client}");
                    say(format!("{sign} {head}"), &cell.why);
                }
            }
        }
        text
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str, &Cell)> {
        self.servers.iter().zip(&self.cells).flat_map(|(server, row)| {
            let cells = self.clients.iter().zip(row);
            cells.map(move |(client, cell)| (&server[..], &client[..], cell))
        })
    }

    fn lines(&self, server: &str, row: &[Cell]) -> String {
        let cells = self.clients.iter().zip(row);
        let lines = cells.map(|(client, cell)| {
            let why: Vec<_> = cell.why.iter().map(|w| w.trim()).collect();
            csv_line([server, client, cell.mark.name(), &why.join(" ")])
        });
        lines.collect()
    }

    fn json(&self) -> String {
        let pairs = self.pairs().map(|(server, client, cell)| {
            json!({
                "server": server,
                "client": client,
                "result": cell.mark.name(),
                "reason": cell.why,
            })
        });
        let value = json!({
            "step": self.step,
            "seed": self.seed,
            "servers": self.servers,
            "clients": self.clients,
            "pairs": pairs.collect::<Vec<Value>>(),
        });
        format!("{value:#}\n")
    }
}

/// `1 server`, `2 servers`.
fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn right(row: &[Cell]) -> usize {
    row.iter().filter(|cell| cell.is_right()).count()
}

/// Why the server of a row, or the client of a column, was not tried.
fn missing<'a>(
    side: Side,
    mut cells: impl Iterator<Item = &'a Cell>,
) -> Option<&'a [String]> {
    let cell = cells.find(|cell| cell.missing == Some(side))?;
    Some(&cell.why)
}

/// A sentence, or a line that a program printed.
fn indented(line: &str) -> String {
    let parts = match line.strip_prefix("  | ") {
        Some(line) => {
            let parts = show::fold(line, WIDTH - 4).into_iter();
            parts.map(str::to_owned).collect()
        }
        None => show::wrap(line, WIDTH),
    };
    let lead = if line.starts_with("  | ") { "  | " } else { "" };
    let lines = parts.iter().map(|part| format!("    {lead}{part}\n"));
    lines.collect()
}
