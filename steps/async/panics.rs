//! What does a panic in a task end?
//!
//!     cargo run --bin panics

// ANCHOR: panics
async fn first_byte(message: Vec<u8>) -> u8 {
    message[0]
}

#[tokio::main]
async fn main() {
    for message in [b"hi".to_vec(), Vec::new(), b"bye".to_vec()] {
        let task = tokio::spawn(first_byte(message));
        match task.await {
            Ok(byte) => println!("main: the task returned {byte}"),
            Err(error) if error.is_panic() => {
                println!("main: the task panicked");
            }
            Err(error) => println!("main: {error}"),
        }
    }
}
// ANCHOR_END: panics
