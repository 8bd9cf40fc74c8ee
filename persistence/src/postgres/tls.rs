//! Encrypted connections, as `sslmode` asks for them.
//!
//! | sslmode | encrypted | who the server is |
//! |---|---|---|
//! | `disable` | no | not checked |
//! | `prefer`, the default | if the server can | not checked |
//! | `require` | yes | not checked |
//! | `verify-full` | yes | its certificate is for the host of the URL, from an authority of the system or of `sslrootcert` |
//!
//! This is what libpq does, but for `verify-ca`, which checks half of it and is refused.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// What a URL asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Encryption {
    /// None.
    Off,
    /// Some, with whoever answers.
    #[default]
    Unverified,
    /// With the server that the URL names and no other.
    Verified {
        /// Authorities in PEM; `None` is the system's.
        authorities: Option<PathBuf>,
    },
}

/// How to encrypt; `None` is not at all. The text of an error is a reason, without secrets.
pub(super) fn connector(encryption: &Encryption) -> Result<Option<MakeRustlsConnect>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has the suites of the default versions");
    let config = match encryption {
        Encryption::Off => return Ok(None),
        Encryption::Unverified => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody { provider }))
        }
        Encryption::Verified { authorities } => {
            builder.with_root_certificates(roots(authorities.as_ref())?)
        }
    };
    Ok(Some(MakeRustlsConnect::new(config.with_no_client_auth())))
}

fn roots(authorities: Option<&PathBuf>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            let unreadable = |why: String| format!("sslrootcert {}: {why}", path.display());
            let found = CertificateDer::pem_file_iter(path);
            for certificate in found.map_err(|error| unreadable(error.to_string()))? {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
        }
        None => {
            // Some of a system's certificates may be broken; the others serve.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    match roots.is_empty() {
        true => Err("there are no certificates of authorities to verify the server with".into()),
        false => Ok(roots),
    }
}

/// Takes any certificate whose key the server has.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
