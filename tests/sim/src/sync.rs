//! `tokio::sync`, but for `watch`: the real one wakes those who wait in an
//! order that it draws itself, and here only the seed draws.

pub use real::sync::*;

/// A value that others can wait for.
pub mod watch {
    use std::future::poll_fn;
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
    use std::task::{Poll, Waker};

    type Shared<T> = Arc<Mutex<(T, Vec<Waker>)>>;

    fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, (T, Vec<Waker>)> {
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value.
    pub struct Sender<T>(Shared<T>);

    /// Waits for the value.
    pub struct Receiver<T>(Shared<T>);

    impl<T> Sender<T> {
        /// Starts with `value`.
        pub fn new(value: T) -> Sender<T> {
            Sender(Arc::new(Mutex::new((value, Vec::new()))))
        }

        /// Returns one more receiver.
        pub fn subscribe(&self) -> Receiver<T> {
            Receiver(Arc::clone(&self.0))
        }

        /// Changes the value, and wakes all who wait, the first one first.
        pub fn send_replace(&self, value: T) -> T {
            let mut shared = lock(&self.0);
            shared.1.drain(..).for_each(Waker::wake);
            std::mem::replace(&mut shared.0, value)
        }
    }

    impl<T> Receiver<T> {
        /// Waits until the value is as `is_so` wants it.
        pub async fn wait_for(&mut self, mut is_so: impl FnMut(&T) -> bool) {
            poll_fn(|cx| {
                let mut shared = lock(&self.0);
                if is_so(&shared.0) {
                    return Poll::Ready(());
                }
                shared.1.push(cx.waker().clone());
                Poll::Pending
            })
            .await;
        }
    }
}
