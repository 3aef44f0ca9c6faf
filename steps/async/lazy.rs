//! When does the body of an `async fn` run?
//!
//!     cargo run --bin lazy

// ANCHOR: lazy
async fn greet(name: &str) {
    println!("Hello, {name}!");
}

#[tokio::main]
async fn main() {
    let future = greet("client");
    println!("greet has returned");
    future.await;
    println!("the future has been awaited");
}
// ANCHOR_END: lazy
