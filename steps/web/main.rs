//! A web server by hand: HTTP/1.1 on the sockets of the steps.

fn main() {}
