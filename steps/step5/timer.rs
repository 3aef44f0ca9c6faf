// ANCHOR: too-slow
//! The timer of a connection, and what happens when it fires.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::select;
use tokio::time::{Instant, Sleep, sleep};

/// What a client may be too slow with, and how long it has for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TooSlow {
    /// To begin a frame.
    Idle(Duration),
    /// To send all of a frame.
    Frame(Duration),
    /// To read, so that the system takes the next byte that we write.
    Write(Duration),
}

impl TooSlow {
    fn duration(self) -> Duration {
        match self {
            TooSlow::Idle(d) | TooSlow::Frame(d) | TooSlow::Write(d) => d,
        }
    }
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            TooSlow::Idle(limit) => write!(f, "no frame within {limit:?}"),
            TooSlow::Frame(limit) => {
                write!(f, "a frame was not whole within {limit:?}")
            }
            TooSlow::Write(limit) => {
                write!(f, "a write stood still for {limit:?}")
            }
        }
    }
}

impl Error for TooSlow {}
// ANCHOR_END: too-slow

// ANCHOR: timer
/// The one timer of a connection. It is set anew when a limit begins, and not
/// made anew for each read: the time of a frame runs over many reads.
pub struct Timer {
    sleep: Pin<Box<Sleep>>,
    limit: TooSlow,
}

impl Timer {
    pub fn new(limit: TooSlow) -> Timer {
        Timer { sleep: Box::pin(sleep(limit.duration())), limit }
    }

    /// Gives the client all the time of `limit`, from now on.
    pub fn restart(&mut self, limit: TooSlow) {
        self.limit = limit;
        let end = Instant::now() + limit.duration();
        self.sleep.as_mut().reset(end);
    }

    /// Waits for `operation` until the time is over. Then the operation is
    /// dropped in the middle. So use only operations that lose nothing then:
    /// `read_buf` and `write`, not `read_exact` or `write_all`.
    ///
    /// # Errors
    /// That of the operation, after the words `what`; or [`TooSlow`].
    pub async fn within<T>(
        &mut self,
        what: &'static str,
        operation: impl Future<Output = io::Result<T>>,
    ) -> Result<T> {
        select! {
            biased; // what has come counts, also if the time is over
            result = operation => result.context(what),
            () = &mut self.sleep => Err(self.limit.into()),
        }
    }
}
// ANCHOR_END: timer

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    const IDLE: TooSlow = TooSlow::Idle(Duration::from_secs(1));

    #[tokio::test(start_paused = true)]
    async fn what_has_come_counts_after_the_time_is_over() {
        let mut timer = Timer::new(IDLE);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(timer.within("", ready(Ok(3))).await.unwrap(), 3);
        let late = timer.within("", pending::<io::Result<()>>()).await;
        assert_eq!(late.unwrap_err().downcast_ref(), Some(&IDLE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_fired_can_be_restarted() {
        let mut timer = Timer::new(IDLE);
        for _ in 0..3 {
            let start = Instant::now();
            let late = timer.within("", pending::<io::Result<()>>()).await;
            assert!(late.is_err());
            assert!(start.elapsed() >= Duration::from_secs(1));
            timer.restart(IDLE);
        }
    }
}
