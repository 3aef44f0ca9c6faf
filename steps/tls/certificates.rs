// ANCHOR: make
//! Certificates: a CA of your own, and a server's certificate that it signs.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::rustls::pki_types::ServerName;

const DAY: Duration = Duration::from_secs(86_400);

/// Everything in PEM (RFC 7468), as files hold it.
pub struct Certificates {
    /// What clients get: the certificate of the CA.
    pub ca: String,
    /// What the server shows to everybody.
    pub server: String,
    /// What the server shows to nobody.
    pub key: String,
}

/// Makes a CA, and a certificate for a server with these names (DNS names or
/// IP addresses) that is valid from `from` to `to`. The key of the CA is
/// dropped at the end: nobody can sign a second certificate with it.
///
/// # Errors
/// A name is neither a DNS name nor an IP address.
pub fn make(
    names: &[String],
    from: SystemTime,
    to: SystemTime,
) -> Result<Certificates> {
    let mut ca = CertificateParams::new([])?;
    // A name of its own, so that an error can tell two of them apart.
    let name = format!("a CA for tests, {:08x}", rand::random::<u32>());
    ca.distinguished_name.push(DnType::CommonName, name);
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    ca.not_before = from.into();
    ca.not_after = (to + 3650 * DAY).into();
    let ca_key = KeyPair::generate()?; // ECDSA with P-256
    let ca_certificate = ca.self_signed(&ca_key)?;

    for name in names {
        ServerName::try_from(name.as_str()).with_context(|| {
            format!("{name:?} is neither a DNS name nor an IP address")
        })?;
    }
    let mut server = CertificateParams::new(names)?;
    server.distinguished_name.push(DnType::CommonName, "a server");
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    server.not_before = from.into();
    server.not_after = to.into();
    let key = KeyPair::generate()?;
    let issuer = Issuer::new(ca, ca_key);
    Ok(Certificates {
        ca: ca_certificate.pem(),
        server: server.signed_by(&key, &issuer)?.pem(),
        key: key.serialize_pem(),
    })
}

/// The validity of a certificate of so many days: from an hour ago, because
/// the clocks of others may be behind ours. With a negative number it has
/// expired that many days ago. A century at most: beyond that, time may wrap.
pub fn validity(days: i64) -> (SystemTime, SystemTime) {
    let now = SystemTime::now();
    let length = DAY * days.unsigned_abs().min(36_500) as u32;
    if days < 0 {
        return (now - length - 90 * DAY, now - length);
    }
    (now - Duration::from_secs(3600), now + length)
}
// ANCHOR_END: make

// ANCHOR: write
impl Certificates {
    /// Writes `server.key`, `server.pem` and `ca.pem` into `folder`. If one is
    /// there, all files stay, unless `force` says otherwise.
    ///
    /// # Errors
    /// A file is there already, or cannot be written.
    pub fn write(&self, folder: &Path, force: bool) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| {
            format!("cannot create the folder {}", folder.display())
        })?;
        let files = [
            ("server.key", &self.key, true),
            ("server.pem", &self.server, false),
            ("ca.pem", &self.ca, false),
        ]
        .map(|(name, pem, is_secret)| (folder.join(name), pem, is_secret));
        for (path, ..) in &files {
            ensure!(
                force || !path.exists(),
                "cannot create {}: it is there already (--force?)",
                path.display()
            );
        }
        for (path, pem, is_secret) in files {
            if force {
                // A file that is written over would keep its old mode.
                let _ = fs::remove_file(&path);
            }
            create(&path, pem, is_secret)
                .with_context(|| format!("cannot create {}", path.display()))?;
        }
        Ok(())
    }
}

/// Creates a file that is not there yet; a secret one only its owner can read.
fn create(path: &Path, text: &str, is_secret: bool) -> std::io::Result<()> {
    let mut options = fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if is_secret {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600); // from the start, not a moment later
    }
    #[cfg(not(unix))]
    let _ = is_secret; // it has the rights that its folder gives
    options.open(path)?.write_all(text.as_bytes())
}
// ANCHOR_END: write

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Certificates {
        let (from, to) = validity(90);
        make(&["localhost".to_owned()], from, to).unwrap()
    }

    #[test]
    fn a_key_is_kept_unless_told_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name| fs::read_to_string(folder.path().join(name)).unwrap();
        let [first, second] = [some(), some()];
        first.write(folder.path(), false).unwrap();
        let error = second.write(folder.path(), false).unwrap_err();
        assert!(format!("{error:#}").contains("--force"), "{error:#}");
        let files = ["server.key", "server.pem", "ca.pem"].map(read);
        assert_eq!(files, [first.key, first.server, first.ca]);
        second.write(folder.path(), true).unwrap();
        let files = ["server.key", "server.pem", "ca.pem"].map(read);
        assert_eq!(files, [second.key, second.server, second.ca]);
    }

    #[test]
    fn a_foreign_certificate_is_kept() {
        for name in ["server.pem", "ca.pem"] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), "theirs").unwrap();
            some().write(folder.path(), false).unwrap_err();
            let all = fs::read_dir(folder.path()).unwrap();
            assert_eq!(all.count(), 1);
            let text = fs::read_to_string(folder.path().join(name)).unwrap();
            assert_eq!(text, "theirs");
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_reads_a_key() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("server.key");
        let mode = || fs::metadata(&key).unwrap().permissions().mode() & 0o777;
        some().write(folder.path(), false).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        some().write(folder.path(), true).unwrap();
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn a_name_must_be_one() {
        let (from, to) = validity(90);
        for name in ["two\nnames\u{fc}", "a b", ""] {
            assert!(make(&[name.to_owned()], from, to).is_err(), "{name:?}");
        }
    }
}
