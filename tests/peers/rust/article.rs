//! The article's first programs, with the article's mistakes. Run them to see
//! what goes wrong, and copy nothing from them.
//!
//!     cargo run --bin article -- server          on 127.0.0.1:8888
//!     cargo run --bin article -- connect         to 127.0.0.1:9999
//!     cargo run --bin article -- client          to 127.0.0.1:9999
//!     cargo run --bin article -- answer-once     on 127.0.0.1:8888
//!
//! The server and the clients use different ports. On one port they wait for
//! each other forever: the server never answers, and the client ends only when
//! it has an answer. `client` and `answer-once` take one read for a whole
//! message. Each server serves one client and ends, and if it closed first, it
//! cannot start again for a minute, because it does not set SO_REUSEADDR.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::{Args, Parser};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The article's first programs, with the article's mistakes
#[derive(Parser)]
enum Command {
    /// Receive from one client until it ends, and never answer
    Server(Listen),
    /// Connect and close
    Connect(Connect),
    /// Send a greeting, receive once, and close
    Client(Connect),
    /// Receive once from one client, answer, and end
    AnswerOnce(Listen),
}

#[derive(Args)]
struct Listen {
    /// The address to listen on; port 0 is any free port
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8888")]
    addr: SocketAddr,
}

#[derive(Args)]
struct Connect {
    /// The server's address
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9999")]
    addr: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let outcome = match Command::parse() {
        Command::Server(listen) => server(listen.addr).await,
        Command::Connect(to) => connect(to.addr).await.map(drop),
        Command::Client(to) => client(to.addr).await,
        Command::AnswerOnce(listen) => answer_once(listen.addr).await,
    };
    if let Err(error) = outcome {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
}

async fn server(addr: SocketAddr) -> Result<()> {
    let listener = listen(addr)?;
    let (mut stream, _) = listener.accept().await.context("cannot accept")?;
    let mut buffer = [0; 1024];
    loop {
        let n = stream.read(&mut buffer).await.context("cannot receive")?;
        if n == 0 {
            println!("the client has ended");
            return Ok(());
        }
        println!("received {:?}", String::from_utf8_lossy(&buffer[..n]));
    }
}

async fn answer_once(addr: SocketAddr) -> Result<()> {
    let listener = listen(addr)?;
    let (mut stream, _) = listener.accept().await.context("cannot accept")?;
    let mut buffer = [0; 1024];
    let n = stream.read(&mut buffer).await.context("cannot receive")?;
    println!("received {:?}", String::from_utf8_lossy(&buffer[..n]));
    stream.write_all(b"Hello, client!").await.context("cannot answer")
}

/// socket, bind, listen, and no SO_REUSEADDR: tokio's own `TcpListener::bind`
/// would ask for it on Unix.
fn listen(addr: SocketAddr) -> Result<TcpListener> {
    let socket = TcpSocket::new_v4().context("cannot make a socket")?;
    let bound = socket.bind(addr);
    bound.with_context(|| format!("cannot listen on {addr}"))?;
    let listener = socket.listen(5).context("cannot listen")?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}

async fn client(addr: SocketAddr) -> Result<()> {
    let mut stream = connect(addr).await?;
    println!("sending \"Hello, Server!\"");
    stream.write_all(b"Hello, Server!").await.context("cannot send")?;
    let mut buffer = [0; 1024];
    let n = stream.read(&mut buffer).await.context("cannot receive")?;
    println!("received {:?}", String::from_utf8_lossy(&buffer[..n]));
    Ok(())
}

async fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(addr).await;
    let stream = stream.with_context(|| format!("cannot connect to {addr}"))?;
    println!("connected to {addr}");
    Ok(stream)
}
