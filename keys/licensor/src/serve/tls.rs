//! TLS of the endpoint: rustls with ring, TLS 1.2 and 1.3, HTTP/2 preferred to HTTP/1.1.

use std::{path::PathBuf, sync::Arc};

use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// A PEM file that cannot be read.
    #[error("{} holds no {what} that can be read ({fault}); name a PEM file", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
        /// What is wrong.
        fault: pem::Error,
    },
    /// What rustls says.
    #[error("the certificate and its key cannot be used: {0}; check that they belong together")]
    Refused(#[from] rustls::Error),
}

/// TLS with the certificate chain and private key in these PEM files.
///
/// # Errors
///
/// Where a file cannot be read, or the two do not belong together.
pub fn from_files(certificate: &std::path::Path, key: &std::path::Path) -> Result<Arc<ServerConfig>, TlsFault> {
    let fault = |path: &std::path::Path, what| {
        let path = path.to_owned();
        move |fault| TlsFault::Pem { path, what, fault }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(|chain| chain.collect::<Result<Vec<_>, _>>())
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(fault(certificate, "certificate"))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(fault(key, "private key"))?;
    Ok(config(chain, key)?)
}

/// TLS with this certificate chain and private key.
///
/// # Errors
///
/// Where they do not belong together.
pub fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config =
        builder.with_safe_default_protocol_versions()?.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
