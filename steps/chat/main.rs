//! A room in the browser: WebSocket on top of the web server.

fn main() {}
