//! A relay for the checker, which speaks plain TCP: it starts our server,
//! speaks TLS with it, and passes signals on. It is this test program itself,
//! started with the variable `RELAY`.

use std::env;
use std::net::SocketAddr;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::signal as send;
use crate::{folder, server};

/// Where to listen; without it, this is a test program.
pub const RELAY: &str = "RELAY";

/// Relays until it is told to stop, and its server has stopped.
#[tokio::main]
pub async fn run() {
    let listen = env::var(RELAY).unwrap();
    let folder = folder();
    let (program, to) = server(folder.path(), &[], &[]);
    let ca =
        CertificateDer::from_pem_file(folder.path().join("target/tls/ca.pem"));
    let mut roots = RootCertStore::empty();
    roots.add(ca.unwrap()).unwrap();
    let config =
        ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let tls = TlsConnector::from(Arc::new(config));
    let mut stop = signal(SignalKind::terminate()).unwrap();
    let listener = TcpListener::bind(listen).await.unwrap();
    println!("listening on {}", listener.local_addr().unwrap());
    let id = program.id();
    let relays = async {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(relay(client, to, tls.clone()));
        }
    };
    select! {
        () = relays => {}
        _ = stop.recv() => send(id, "-TERM"),
    }
    // The server goes on accepting for a tenth of a second.
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(listener);
    let again = tokio::spawn(async move {
        stop.recv().await;
        send(id, "-TERM");
    });
    let ended = tokio::task::spawn_blocking(|| program.finish()).await;
    again.abort();
    // The last bytes of the server may still be on their way to a client.
    tokio::time::sleep(Duration::from_millis(50)).await;
    process::exit(ended.unwrap().code.unwrap_or(1));
}

async fn relay(mut client: TcpStream, to: SocketAddr, tls: TlsConnector) {
    let _ = client.set_nodelay(true);
    let Ok(server) = TcpStream::connect(to).await else { return };
    let _ = server.set_nodelay(true);
    let name = ServerName::from(to.ip());
    let Ok(mut server) = tls.connect(name, server).await else { return };
    if copy_bidirectional(&mut client, &mut server).await.is_err() {
        // One end was reset, so the other one is, too.
        let _ = client.set_zero_linger();
        let _ = server.get_ref().0.set_zero_linger();
    }
}
