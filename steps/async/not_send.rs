//! Does not compile: a task holds what must stay on one thread.
//!
//!     cargo build --bin not-send --features broken

// ANCHOR: not_send
use std::cell::Cell;
use std::rc::Rc;

use tokio::task::yield_now;

async fn serve(served: Rc<Cell<usize>>) {
    yield_now().await; // a server would read and write here
    served.set(served.get() + 1);
}

#[tokio::main]
async fn main() {
    let served = Rc::new(Cell::new(0));
    let task = tokio::spawn(serve(Rc::clone(&served)));
    let _ = task.await;
    println!("served {} clients", served.get());
}
// ANCHOR_END: not_send
