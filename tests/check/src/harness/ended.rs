//! What a client left: its exit code, and what it printed.

use std::process::ExitStatus;

use crate::diagnosis::show;
use crate::harness::lab::Lab;
use crate::harness::words::trace;
use crate::program::running::describe;
use crate::traits::Tag;
use crate::verdict::Check;

/// How a client ended, and what it said.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Ended {
    /// The exit code must be this one.
    pub fn code(&self, lab: &Lab, code: i32) -> Check {
        if self.status.code() == Some(code) {
            return Ok(());
        }
        let expected = format!("exit code {code} ({})", meaning_of(code));
        let actual = describe(self.status);
        let mut failure = lab.fail(expected, actual);
        if self.status.code() == Some(101) {
            failure.meaning = "Your client panicked.".into();
        } else if code >= 3
            && !self.status.success()
            && !lab.traits.has(Tag::ExitCodes)
        {
            failure.meaning = "Your client gave up as it should, but with \
                               another exit code, which is all that a script \
                               sees."
                .into();
            failure.look = "the table of exit codes in the contract".into();
        }
        Err(failure.into())
    }

    /// It must have failed, by an exit code, and neither by a panic nor by a
    /// signal.
    pub fn failed(&self, lab: &Lab) -> Check {
        match self.status.code() {
            Some(0 | 101 | 129..=159) | None => {
                let actual = describe(self.status);
                Err(lab.fail("an exit code that is not 0", actual).into())
            }
            // The contract says 1; other languages have other habits.
            Some(_) => Ok(()),
        }
    }

    pub fn said_why(&self, lab: &Lab) -> Check {
        if !self.stderr.trim_ascii().is_empty() {
            let text = String::from_utf8_lossy(&self.stderr);
            trace(lab, &text);
            return Ok(());
        }
        let actual = match self.stdout.is_empty() {
            true => "nothing on stderr",
            false => "the message is on stdout, where only answers belong",
        };
        Err(lab.fail("a message on stderr", actual).into())
    }

    /// Warns if its message does not contain this.
    pub fn said(&self, lab: &Lab, what: &str, name: &str) {
        let has_it = |text: &[u8]| {
            text.windows(what.len()).any(|part| part == what.as_bytes())
        };
        if !has_it(&self.stderr) {
            let actual = "a message without it";
            let mut failure =
                lab.fail(format!("{name} in its message on stderr"), actual);
            failure.meaning = "Whoever reads the message needs this to find \
                               out what is wrong."
                .into();
            failure.look = "what your client prints when it fails".into();
            lab.warn(failure);
        }
    }

    /// A text of the server must not command the terminal.
    pub fn commands_no_terminal(&self, lab: &Lab) {
        if self.stderr.contains(&0x1b) {
            let expected = "a text that commands no terminal";
            let actual =
                "the escape character of the server's text, as it came";
            let mut failure = lab.fail(expected, actual);
            failure.meaning = "Your client prints the text as it came, so \
                               whoever wrote it can clear your screen, or \
                               worse."
                .into();
            failure.look =
                "how your client prints a text that is not its own".into();
            lab.warn(failure);
        }
    }

    pub fn silent(&self, lab: &Lab) -> Check {
        self.printed(lab, b"")
    }

    /// stdout must be these lines: from step 4 on a newline follows each.
    pub fn printed_lines(&self, lab: &Lab, texts: &[&str]) -> Check {
        let mut want = texts.join("\n").into_bytes();
        if lab.is_framed() {
            want.push(b'\n');
        }
        self.printed(lab, &want)
    }

    fn printed(&self, lab: &Lab, want: &[u8]) -> Check {
        let got = &self.stdout[..];
        if got == want {
            return Ok(());
        }
        let mut failure = lab.fail(on_stdout(want), on_stdout(got));
        if want.is_empty() || letters(got) != letters(want) || got.is_empty() {
            return Err(failure.into());
        }
        failure.look = "how your client prints: print, puts, println".into();
        if got.trim_ascii_end() == want.trim_ascii_end() {
            failure.meaning = "Only the newline at the end differs: a client \
                               of steps 1 to 3 prints what came and nothing \
                               more, and one of step 4 prints a newline after \
                               each reply."
                .into();
            lab.warn(failure);
            return Ok(());
        }
        failure.meaning = "Your client printed all replies, but not the \
                           newline after each of them."
            .into();
        Err(failure.into())
    }
}

fn on_stdout(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing on stdout".to_owned();
    }
    let mut part = &bytes[..bytes.len().min(60)];
    if let Err(error) = std::str::from_utf8(part)
        && error.error_len().is_none()
    {
        part = &part[..error.valid_up_to()]; // the cut is inside a letter
    }
    format!("stdout \"{}\"", show::shorten(&show::escape(part), 56))
}

fn letters(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| *byte != b'\n').collect()
}

fn meaning_of(code: i32) -> &'static str {
    match code {
        0 => "answered",
        3 => "certainly not executed",
        4 => "outcome unknown",
        5 => "the server broke the protocol",
        6 => "the server answered with an error",
        _ => "failed",
    }
}
