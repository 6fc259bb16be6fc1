//! Encryption: how much of it, whose certificates count, and with which one we show ourselves.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt;
use stockflow_core::{Error, ErrorClass, Origin, Result};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How much encryption a connection must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// None: for a server on the same machine, or over a tunnel.
    Disable,
    /// Encrypted, but the server may be anybody: its certificate is not looked at.
    Require,
    /// Encrypted, and the server has a certificate for its host name by an authority that we trust.
    #[default]
    VerifyFull,
}

impl FromStr for SslMode {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text {
            "disable" => Ok(Self::Disable),
            "require" => Ok(Self::Require),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err(format!("`{text}` is none of disable, require, verify-full")),
        }
    }
}

fn unreadable(what: &str, path: &Path, reason: impl std::fmt::Display) -> Error {
    let reason =
        format!("{what} `{}` cannot be used: {reason}; it must be a PEM file that this user may read", path.display());
    Error::refused(Origin::new("postgres"), ErrorClass::Config, reason)
}

fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| unreadable(what, path, error))?;
    if found.is_empty() {
        return Err(unreadable(what, path, "there is no certificate in it"));
    }
    Ok(found)
}

/// What makes encrypted connections; the files are read here.
pub(super) fn connector(mode: SslMode, ca: Option<&Path>, client: Option<(&Path, &Path)>) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let failed = |error: rustls::Error| Error::connector(Origin::new("postgres"), "set up TLS", error);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let builder = match (mode, ca) {
        (SslMode::VerifyFull, Some(path)) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("the CA's certificate", path)? {
                roots.add(certificate).map_err(|error| unreadable("the CA's certificate", path, error))?;
            }
            builder.with_root_certificates(roots)
        }
        (SslMode::VerifyFull, None) => builder.with_platform_verifier().map_err(failed)?,
        (SslMode::Require | SslMode::Disable, _) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        }
    };
    let config = match client {
        Some((certificate, key)) => {
            let chain = certificates("the client's certificate", certificate)?;
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unreadable("the client's private key", key, error))?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| unreadable("the client's certificate", certificate, error))?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

/// Takes any certificate: what `require` means.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
