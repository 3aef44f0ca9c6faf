//! The lines that the proxy prints. When nobody reads its stdout (as in
//! `proxy … | less`), a write waits once the pipe is full. So a thread of its
//! own writes, and no connection waits with it.

use std::fmt::Display;
use std::io::{Write, stdout};
use std::mem::take;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How many lines may wait to be printed.
const LINES: usize = 1024;

struct Page {
    lines: Vec<String>,
    lost: u64, // lines for which there was no room
    is_printing: bool,
}

static PAGE: Mutex<Page> =
    Mutex::new(Page { lines: Vec::new(), lost: 0, is_printing: false });
static CHANGED: Condvar = Condvar::new();

/// Prints one line, soon. If there is no room for it, it is only counted.
pub fn say(line: impl Display) {
    let mut page = page();
    if page.lines.len() < LINES {
        page.lines.push(line.to_string());
    } else {
        page.lost += 1;
    }
    CHANGED.notify_all();
}

/// Starts the thread that prints what is said.
pub fn start() {
    thread::spawn(|| {
        loop {
            let mut page = page_when(|page| !page.lines.is_empty());
            page.is_printing = true;
            let (lines, lost) = (take(&mut page.lines), take(&mut page.lost));
            drop(page);
            lines.iter().for_each(print);
            if lost > 0 {
                print(format!("{lost} lines lost: nobody read them"));
            }
            self::page().is_printing = false;
            CHANGED.notify_all();
        }
    });
}

/// Waits until everything is printed.
pub fn finish() {
    drop(page_when(|page| page.lines.is_empty() && !page.is_printing));
}

/// If the reader is gone (as in `proxy | head -1`), the line is lost and the
/// program carries on, where `println!` would panic.
fn print(line: impl Display) {
    let _ = writeln!(stdout(), "{line}");
}

fn page() -> MutexGuard<'static, Page> {
    PAGE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn page_when(is_so: impl Fn(&Page) -> bool) -> MutexGuard<'static, Page> {
    let page = CHANGED.wait_while(page(), |page| !is_so(page));
    page.unwrap_or_else(PoisonError::into_inner)
}
