//! `tokio::signal`, as far as the steps use it. There is one signal, SIGTERM.

use std::io;

use crate::sync::watch::Receiver;
use crate::world::with;

/// Waits for requests to stop.
pub struct Signal {
    stops: Receiver<u32>,
    seen: u32,
    comes: bool,
}

impl Signal {
    fn new(comes: bool) -> Signal {
        with(|world| {
            let seen = world.stops;
            Signal { stops: world.stop.subscribe(), seen, comes }
        })
    }

    /// Waits for the next request.
    pub async fn recv(&mut self) -> Option<()> {
        let (seen, comes) = (self.seen, self.comes);
        self.stops.wait_for(|stops| comes && *stops > seen).await;
        self.seen += 1;
        Some(())
    }
}

/// Signals on Unix.
pub mod unix {
    pub use super::Signal;
    use super::io;

    /// Which signal to wait for.
    pub struct SignalKind(bool);

    impl SignalKind {
        /// Ctrl-C, which never comes here.
        pub fn interrupt() -> SignalKind {
            SignalKind(false)
        }

        /// SIGTERM.
        pub fn terminate() -> SignalKind {
            SignalKind(true)
        }
    }

    /// Listens for `kind`.
    ///
    /// # Errors
    /// There are none here.
    pub fn signal(kind: SignalKind) -> io::Result<Signal> {
        Ok(Signal::new(kind.0))
    }
}

/// Signals on Windows.
pub mod windows {
    pub use super::Signal as CtrlC;
    use super::io;

    /// Listens for Ctrl-C.
    ///
    /// # Errors
    /// There are none here.
    pub fn ctrl_c() -> io::Result<CtrlC> {
        Ok(CtrlC::new(true))
    }
}
