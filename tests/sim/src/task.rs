//! `tokio::task`: the server's tasks are counted, and end with its process.

pub use real::task::*;

use crate::world::with;

/// Says so if the task that holds it panics.
struct Watched;

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            with(|world| world.wrong("panic", "a server's task panicked"));
        }
    }
}

/// Starts a task of the server's process. Only the steps call this.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let watched = async move {
        let _watched = Watched;
        future.await
    };
    let task = real::spawn(watched);
    with(|world| world.tasks.push(task.abort_handle()));
    task
}

/// Runs `work` at once: there is one thread, and the disk takes no time.
pub fn block_in_place<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// Ends all tasks of the server's process, as `kill -9` does.
pub async fn end_all() {
    let tasks = with(|world| std::mem::take(&mut world.tasks));
    tasks.iter().for_each(AbortHandle::abort);
    while tasks.iter().any(|task| !task.is_finished()) {
        yield_now().await;
    }
}

/// Returns how many tasks the server's process has.
pub fn count() -> usize {
    with(|world| {
        world.tasks.retain(|task| !task.is_finished());
        world.tasks.len()
    })
}
