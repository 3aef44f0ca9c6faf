// ANCHOR: configure
//! What TLS needs to know on each end, and what its errors mean.

use std::io;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, InvalidMessage,
    RootCertStore, ServerConfig,
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
    // Both ends are ours, so no old version is needed. TLS 1.3 also lets one
    // direction end before the other (RFC 9846 section 6.1), as TCP does.
    let config = ServerConfig::builder_with_protocol_versions(&[&TLS13])
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
    let config = ClientConfig::builder_with_protocol_versions(&[&TLS13])
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
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
    use AlertDescription::{HandshakeFailure, ProtocolVersion};
    match rustls_error(error) {
        // We do not trust the server, or the two have nothing in common. To
        // ask again would not change that.
        Some(
            Error::InvalidCertificate(_)
            | Error::PeerIncompatible(_)
            | Error::AlertReceived(ProtocolVersion | HandshakeFailure),
        ) => Outcome::Rejected,
        // An end, a reset, a changed byte, trouble of the server: this says
        // nothing about the next attempt.
        None | Some(Error::DecryptError | Error::AlertReceived(_)) => {
            Outcome::NotExecuted
        }
        Some(_) => Outcome::Protocol,
    }
}

/// Did the handshake fail because of the other end's certificate?
pub fn is_distrust(error: &io::Error) -> bool {
    matches!(rustls_error(error), Some(Error::InvalidCertificate(_)))
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
        Error::DecryptError => {
            "a record does not decrypt (changed on the way?)".to_owned()
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
    match error {
        UnknownIssuer => {
            "no CA of --ca has signed its certificate (another ca.pem?)"
                .to_owned()
        }
        NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "its certificate names nobody (make one with --name?)".to_owned()
        }
        NotValidForNameContext { expected, presented } => format!(
            "it is {}, not {} (is --name right?)",
            presented.iter().map(|n| bare(n)).collect::<Vec<_>>().join(", "),
            expected.to_str(),
        ),
        ExpiredContext { time, not_after } => format!(
            "its certificate expired {} ago (is our clock right?)",
            hours(time.as_secs() - not_after.as_secs()),
        ),
        NotValidYetContext { time, not_before } => format!(
            "its certificate is valid in {} (is our clock right?)",
            hours(not_before.as_secs() - time.as_secs()),
        ),
        // The library has no variant of its own for this one.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "it shows a CA's certificate, not its own".to_owned()
        }
        other => format!("its certificate is no good: {other}"),
    }
}

fn hours(seconds: u64) -> String {
    match seconds / 3600 {
        0 => "less than an hour".to_owned(),
        hours => format!("{hours} hours"),
    }
}

/// Returns `localhost` for `DnsName("localhost")`.
fn bare(name: &str) -> &str {
    let mut parts = name.split(['(', ')', '"']).filter(|p| !p.is_empty());
    parts.nth(1).unwrap_or(name)
}
// ANCHOR_END: explain

#[cfg(test)]
mod tests {
    use super::*;

    use tokio_rustls::rustls::PeerIncompatible;

    #[test]
    fn what_may_pass_is_tried_again() {
        use AlertDescription::{
            HandshakeFailure, InternalError, ProtocolVersion,
        };
        use Outcome::{NotExecuted, Protocol, Rejected};
        let unknown = CertificateError::UnknownIssuer;
        let old = PeerIncompatible::ServerDoesNotSupportTls12Or13;
        for (error, is) in [
            (Error::InvalidCertificate(unknown), Rejected),
            (Error::PeerIncompatible(old), Rejected),
            (Error::AlertReceived(ProtocolVersion), Rejected),
            (Error::AlertReceived(HandshakeFailure), Rejected),
            (Error::AlertReceived(InternalError), NotExecuted),
            (Error::DecryptError, NotExecuted),
            (Error::NoCertificatesPresented, Protocol),
        ] {
            let distrusts = matches!(error, Error::InvalidCertificate(_));
            let error = io::Error::other(error);
            assert_eq!(outcome(&error), is, "{error}");
            assert_eq!(is_distrust(&error), distrusts, "{error}");
        }
        let reset = io::ErrorKind::ConnectionReset.into();
        assert_eq!(outcome(&reset), NotExecuted);
    }
}
