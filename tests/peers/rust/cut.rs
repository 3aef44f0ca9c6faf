//! A bad connection: it stands between a client and a server, and loses the
//! first request, or the reply to it. After that it is a good one.
//!
//!     cargo run --bin cut -- reply           127.0.0.1:8889, to 127.0.0.1:8888
//!     cargo run --bin cut -- request LISTEN SERVER

use std::env;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let what = args.next().unwrap_or_default();
    let listen = args.next().unwrap_or("127.0.0.1:8889".to_owned());
    let server = args.next().unwrap_or("127.0.0.1:8888".to_owned());
    let listener = TcpListener::bind(&listen).await?;
    println!("listening on {}", listener.local_addr()?);

    let mut client = listener.accept().await?.0;
    let mut buffer = [0; 1024];
    let n = client.read(&mut buffer).await?; // a request is that short
    match what.as_str() {
        "request" => {}
        "reply" => {
            let mut server = connect(&server).await?;
            server.write_all(&buffer[..n]).await?;
            server.read_exact(&mut [0; 29]).await?; // that to an ADD
            server.shutdown().await?;
            while server.read(&mut buffer).await? > 0 {} // until it has ended, too
        }
        _ => bail!("say what to lose: request or reply"),
    }
    drop(client);
    println!("lost the {what}");
    loop {
        let mut client = listener.accept().await?.0;
        let mut server = connect(&server).await?;
        tokio::spawn(async move {
            copy_bidirectional(&mut client, &mut server).await
        });
    }
}

async fn connect(server: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(server).await;
    stream.with_context(|| format!("cannot connect to {server}"))
}
