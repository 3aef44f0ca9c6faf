//! The same server with axum, for comparison.
//!
//!     cargo run -p web --example axum -- target/book 127.0.0.1:8889

use std::env::args;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tower_http::services::ServeDir;

// ANCHOR: axum
#[tokio::main]
async fn main() -> std::io::Result<()> {
    let folder = args().nth(1).unwrap_or_else(|| "target/book".into());
    let addr = args().nth(2).unwrap_or_else(|| "127.0.0.1:8889".into());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on {}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true); // or each answer may wait for 40 ms
    });
    let files = Router::new().fallback_service(ServeDir::new(folder));
    axum::serve(listener, files)
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await
}
// ANCHOR_END: axum
