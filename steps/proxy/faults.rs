//! A fault in words: what goes wrong, on which connections, in which
//! direction, and when.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail, ensure};

// ANCHOR: grammar
/// The whole grammar, for `--help`.
pub const GRAMMAR: &str = "\
A FAULT is [at TIME] [conn N[-M]] [up|down] and one of these:
  delay TIME         each byte arrives that much later
  jitter TIME        … and up to this much more, at random
  rate SIZE          at most that many bytes a second
  slice SIZE         no write is longer than that
  corrupt SIZE       one byte in that many is damaged, at random
  slow-close TIME    the end of the stream arrives that much later
  stall [after N frames|bytes]   nothing gets through any more
  reset [after N frames|bytes]   both ends get a reset (RST)
  cut [after N frames|bytes]     both ends get an end (FIN)
  refuse             a new connection is reset at once
  clear              all faults before this one are over
TIME is 100ms or 2s, from the start of a connection. SIZE is 100, 10KB or 1MB.
Connections are counted from 1; `up` is from the client to the server.
While the proxy runs, type a FAULT on its stdin.

`reset` drops what the kernel still keeps for a slow reader, so fewer than N
may reach it. After `cut`, both ends have a minute to close.
Limits: 1024 connections, with those that are stalled (the next one waits);
100 faults; 1024 bytes in a line on stdin; in each direction, 64 KiB on their
way, in up to 1024 pieces (then the proxy stops reading).";
// ANCHOR_END: grammar

/// From the client to the server, or back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    Up,
    Down,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    Delay(Duration),
    Jitter(Duration),
    Rate(u64), // in bytes a second
    Slice(u64),
    Corrupt(u64),
    SlowClose(Duration),
    Stop(Stop, After),
    Refuse,
    Clear,
}

/// How a direction stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stop {
    Stall,
    Reset,
    Cut,
}

/// What still gets through before that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum After {
    Nothing,
    Bytes(u64),
    Frames(u64),
}

/// A fault, and where and when it acts.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub at: Duration, // counted from the start of a connection
    pub connections: RangeInclusive<u64>,
    pub way: Option<Way>, // or both
    pub fault: Fault,
}

impl Rule {
    /// Does it act on this direction of this connection?
    pub fn concerns(&self, connection: u64, way: Way) -> bool {
        self.connections.contains(&connection)
            && self.way.is_none_or(|only| only == way)
    }

    /// Does it end all faults, on all connections, at once?
    pub fn is_clear(&self) -> bool {
        let is_now = self.at.is_zero() && self.way.is_none();
        is_now && self.connections == ALL && self.fault == Fault::Clear
    }
}

const ALL: RangeInclusive<u64> = 1..=u64::MAX;

impl FromStr for Rule {
    type Err = Error;

    /// # Errors
    /// The text is no fault; the error says which word is wrong.
    fn from_str(text: &str) -> Result<Rule> {
        let words = &mut text.split_whitespace();
        let (mut at, mut way) = (None, None);
        let mut connections = None;
        let fault = loop {
            match words.next().context("what is the fault? See --help")? {
                "at" if at.is_none() => at = Some(time("at", words)?),
                "conn" if connections.is_none() => {
                    connections = Some(range(words)?);
                }
                "up" if way.is_none() => way = Some(Way::Up),
                "down" if way.is_none() => way = Some(Way::Down),
                name => break fault(name, words)?,
            }
        };
        if let Some(word) = words.next() {
            bail!("{word:?} is one word too many");
        }
        ensure!(
            fault != Fault::Refuse || (at.is_none() && way.is_none()),
            "refuse acts before a connection has a time or a direction: \
             leave out `at`, `up` and `down`"
        );
        let connections = connections.unwrap_or(ALL);
        Ok(Rule { at: at.unwrap_or_default(), connections, way, fault })
    }
}

type Words<'a, 'b> = &'a mut std::str::SplitWhitespace<'b>;

fn fault(name: &str, words: Words) -> Result<Fault> {
    Ok(match name {
        "delay" => Fault::Delay(time(name, words)?),
        "jitter" => Fault::Jitter(time(name, words)?),
        "rate" => Fault::Rate(size(name, words)?),
        "slice" => Fault::Slice(size(name, words)?),
        "corrupt" => Fault::Corrupt(size(name, words)?),
        "slow-close" => Fault::SlowClose(time(name, words)?),
        "stall" => Fault::Stop(Stop::Stall, after(words)?),
        "reset" => Fault::Stop(Stop::Reset, after(words)?),
        "cut" => Fault::Stop(Stop::Cut, after(words)?),
        "refuse" => Fault::Refuse,
        "clear" => Fault::Clear,
        _ => bail!(
            "{name:?} is no fault, or stands there twice; try delay, jitter, \
             rate, slice, corrupt, slow-close, stall, reset, cut, refuse or \
             clear"
        ),
    })
}

/// Takes a time, at most a day: `100ms` or `2s`.
fn time(before: &str, words: Words) -> Result<Duration> {
    let word = words.next().unwrap_or_default();
    let (number, unit) = match word.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (word.strip_suffix('s').unwrap_or_default(), 1000),
    };
    let ms = number.parse().ok().and_then(|n: u64| n.checked_mul(unit));
    let ms = ms.filter(|ms| *ms <= 86_400_000).with_context(|| {
        format!("{word:?} after `{before}` is no time; try 100ms or 2s")
    })?;
    Ok(Duration::from_millis(ms))
}

/// Takes a number of bytes, at least 1: `100`, `10KB` or `1MB`.
fn size(before: &str, words: Words) -> Result<u64> {
    let word = words.next().unwrap_or_default();
    let (number, unit) = match word {
        _ if word.ends_with("KB") => (&word[..word.len() - 2], 1000),
        _ if word.ends_with("MB") => (&word[..word.len() - 2], 1_000_000),
        _ => (word, 1),
    };
    let size = number.parse().ok().and_then(|n: u64| n.checked_mul(unit));
    size.filter(|size| *size > 0).with_context(|| {
        format!("{word:?} after `{before}` is no size; try 100, 10KB or 1MB")
    })
}

/// Takes the numbers of connections: `3`, or `1-2`.
fn range(words: Words) -> Result<RangeInclusive<u64>> {
    let word = words.next().unwrap_or_default();
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let range = first.parse().ok().zip(last.parse().ok());
    let range = range.filter(|&(first, last)| 1 <= first && first <= last);
    let (first, last) = range.with_context(|| {
        format!("{word:?} after `conn` is no connection; try 3, or 1-2")
    })?;
    Ok(first..=last)
}

/// Takes `after 2 frames`, if it is there.
fn after(words: Words) -> Result<After> {
    match words.next() {
        None => return Ok(After::Nothing),
        Some(word) => ensure!(word == "after", "{word:?} is not `after`"),
    }
    let word = words.next().unwrap_or_default();
    let number = word.parse().with_context(|| {
        format!("{word:?} after `after` is no number; try `after 2 frames`")
    })?;
    match words.next() {
        Some("byte" | "bytes") => Ok(After::Bytes(number)),
        Some("frame" | "frames") => Ok(After::Frames(number)),
        _ => bail!("{number} of what? Try `after {number} frames`, or bytes"),
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Way::Up => "up",
            Way::Down => "down",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (stop, after) = match self {
            Fault::Delay(time) => return write!(f, "delay {time:?}"),
            Fault::Jitter(time) => return write!(f, "jitter {time:?}"),
            Fault::Rate(size) => return write!(f, "rate {size}"),
            Fault::Slice(size) => return write!(f, "slice {size}"),
            Fault::Corrupt(size) => return write!(f, "corrupt {size}"),
            Fault::SlowClose(time) => return write!(f, "slow-close {time:?}"),
            Fault::Refuse => return f.write_str("refuse"),
            Fault::Clear => return f.write_str("clear"),
            Fault::Stop(stop, after) => (stop, after),
        };
        f.write_str(match stop {
            Stop::Stall => "stall",
            Stop::Reset => "reset",
            Stop::Cut => "cut",
        })?;
        match after {
            After::Nothing => Ok(()),
            After::Bytes(n) => write!(f, " after {n} bytes"),
            After::Frames(n) => write!(f, " after {n} frames"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_printed_as_it_is_written() {
        for text in [
            "delay 100ms",
            "jitter 2s",
            "rate 1000",
            "slice 3",
            "corrupt 100",
            "slow-close 1s",
            "stall",
            "reset after 2 frames",
            "cut after 10 bytes",
            "refuse",
            "clear",
        ] {
            let rule: Rule = text.parse().unwrap();
            assert_eq!(rule.fault.to_string(), text);
            assert_eq!(rule.is_clear(), text == "clear");
        }
    }

    #[test]
    fn where_and_when_stand_before_it_in_any_order() {
        let rule = Rule {
            at: Duration::from_millis(500),
            connections: 2..=3,
            way: Some(Way::Down),
            fault: Fault::Rate(10_000),
        };
        for text in [
            "at 500ms conn 2-3 down rate 10KB",
            " down conn 2-3  at 500ms rate 10000 ",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap(), rule);
        }
        let frame: Rule = "conn 7 cut after 1 frame".parse().unwrap();
        assert_eq!(frame.connections, 7..=7);
        assert_eq!(frame.fault, Fault::Stop(Stop::Cut, After::Frames(1)));
    }

    #[test]
    fn a_bad_fault_says_which_word_is_wrong() {
        for (text, error) in [
            ("", "what is the fault?"),
            ("up", "what is the fault?"),
            ("dely 1s", "\"dely\" is no fault"),
            ("up down stall", "\"down\" is no fault, or stands there twice"),
            ("delay", "\"\" after `delay` is no time"),
            ("delay 5", "\"5\" after `delay` is no time"),
            ("delay 99999999s", "is no time"),
            ("rate 0", "\"0\" after `rate` is no size"),
            ("slice 5kb", "try 100, 10KB or 1MB"),
            ("conn 0 stall", "\"0\" after `conn` is no connection"),
            ("conn 3-2 stall", "try 3, or 1-2"),
            ("reset in 2s", "\"in\" is not `after`"),
            ("reset after x frames", "\"x\" after `after` is no number"),
            ("reset after 2", "2 of what?"),
            ("stall after 1 byte more", "\"more\" is one word too many"),
            ("up refuse", "leave out `at`, `up` and `down`"),
        ] {
            let found = text.parse::<Rule>().unwrap_err().to_string();
            assert!(found.contains(error), "{text:?}: {found}");
        }
    }
}
