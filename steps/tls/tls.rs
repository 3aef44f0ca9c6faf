// ANCHOR: configure
//! What TLS needs to know on each end, and what its errors mean.

use std::io;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, ConfigBuilder, ConfigSide, Error,
    InvalidMessage, RootCertStore, ServerConfig, WantsVerifier, WantsVersions,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::retry::Outcome;

/// Returns the server's part: its certificates, its own first, and the key of
/// that one, both in PEM.
///
/// # Errors
/// There is no certificate, or no key, or they do not belong together.
pub fn acceptor(certificates: &[u8], key: &[u8]) -> Result<TlsAcceptor> {
    let chain = parse(certificates).context("cannot use the certificate")?;
    let key =
        PrivateKeyDer::from_pem_slice(key).context("cannot use the key")?;
    let config = only_1_3(ServerConfig::builder_with_provider(provider()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("cannot use this key with this certificate")?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Returns the client's part: the CAs that it believes, in PEM. It trusts
/// these and no others, not even those that the system knows.
///
/// # Errors
/// There is no certificate, or one that is none of a CA.
pub fn connector(cas: &[u8]) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for ca in parse(cas).context("cannot use the CA")? {
        roots.add(ca).context("cannot use the CA")?;
    }
    let config = only_1_3(ClientConfig::builder_with_provider(provider()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn provider() -> Arc<tokio_rustls::rustls::crypto::CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Both ends are ours, so no old version is needed. TLS 1.3 also lets one
/// direction end before the other (RFC 8446 section 6.1), as TCP does.
fn only_1_3<Side: ConfigSide>(
    builder: ConfigBuilder<Side, WantsVersions>,
) -> Result<ConfigBuilder<Side, WantsVerifier>> {
    Ok(builder.with_protocol_versions(&[&TLS13])?)
}

fn parse(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.context("not in PEM")?;
    ensure!(!all.is_empty(), "there is no certificate in it");
    Ok(all)
}
// ANCHOR_END: configure

// ANCHOR: outcome
/// Returns what a handshake that failed means for the request that was to
/// follow. It was not sent, so it was not executed; may it be tried again?
pub fn outcome(error: &io::Error) -> Outcome {
    match rustls_error(error) {
        // An end, a reset: this says nothing about the next attempt.
        None => Outcome::NotExecuted,
        // We do not trust the server, or it does not trust us, or the two have
        // nothing in common. To ask again would not change that.
        Some(
            Error::InvalidCertificate(_)
            | Error::AlertReceived(_)
            | Error::PeerIncompatible(_),
        ) => Outcome::Rejected,
        Some(_) => Outcome::Protocol,
    }
}

fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}
// ANCHOR_END: outcome

// ANCHOR: explain
/// Says what went wrong in a handshake, and what to try.
pub fn explain(error: io::Error) -> anyhow::Error {
    let Some(cause) = rustls_error(&error) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                anyhow!("the other end closed in the middle")
            }
            _ => error.into(),
        };
    };
    let text = match cause {
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "this is not TLS (plain TCP?)".to_owned()
        }
        Error::AlertReceived(alert) => {
            format!("the other end gave up and says why: {alert:?}")
        }
        Error::PeerIncompatible(what) => {
            format!("the other end offers too little for TLS 1.3: {what:?}")
        }
        other => other.to_string(),
    };
    anyhow::Error::msg(text)
}

fn certificate(error: &CertificateError) -> String {
    use CertificateError::{
        ExpiredContext, NotValidForNameContext, NotValidYetContext,
        UnknownIssuer,
    };
    let hours = |seconds: u64| seconds / 3600;
    match error {
        UnknownIssuer => {
            "no CA of --ca has signed its certificate (another ca.pem?)"
                .to_owned()
        }
        NotValidForNameContext { expected, presented } => format!(
            "it is {}, not {} (is --name right?)",
            presented.iter().map(|n| bare(n)).collect::<Vec<_>>().join(", "),
            expected.to_str(),
        ),
        ExpiredContext { time, not_after } => format!(
            "its certificate expired {} hours ago (is our clock right?)",
            hours(time.as_secs() - not_after.as_secs()),
        ),
        NotValidYetContext { time, not_before } => format!(
            "its certificate is valid in {} hours (is our clock right?)",
            hours(not_before.as_secs() - time.as_secs()),
        ),
        other => format!("its certificate is no good: {other}"),
    }
}

/// Returns `localhost` for `DnsName("localhost")`.
fn bare(name: &str) -> &str {
    let mut parts = name.split(['(', ')', '"']).filter(|p| !p.is_empty());
    parts.nth(1).unwrap_or(name)
}
// ANCHOR_END: explain
