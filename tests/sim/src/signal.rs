//! `tokio::signal`, as far as the steps use it. There is one signal, "stop".

use std::io;

use real::sync::watch::Receiver;

use crate::world::with;

/// Waits for requests to stop.
pub struct Signal(Receiver<u32>);

impl Signal {
    /// Waits for the next request.
    pub async fn recv(&mut self) -> Option<()> {
        self.0.changed().await.ok()
    }
}

/// Signals on Unix.
pub mod unix {
    pub use super::Signal;
    use super::*;

    /// Which signal to wait for.
    #[derive(PartialEq)]
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
        let never = || real::sync::watch::Sender::new(0);
        Ok(Signal(with(|world| match kind.0 {
            true => world.stop.subscribe(),
            false => world.never.get_or_insert_with(never).subscribe(),
        })))
    }
}

/// Signals on Windows.
pub mod windows {
    pub use super::Signal as CtrlC;
    use super::*;

    /// Listens for Ctrl-C.
    ///
    /// # Errors
    /// There are none here.
    pub fn ctrl_c() -> io::Result<CtrlC> {
        Ok(Signal(with(|world| world.stop.subscribe())))
    }
}
