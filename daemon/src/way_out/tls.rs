//! TLS towards the licensor: rustls with ring, TLS 1.2 and 1.3, the system's certificate authorities and those of
//! `network.ca`. Certificates are always verified; nothing switches that off.

use std::{io, path::Path, sync::Arc};

use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{
    secrets,
    trouble::{Trouble, Unverified},
};

/// What is believed.
pub(crate) fn client(ca: Option<&Path>) -> Result<Arc<ClientConfig>, Trouble> {
    let mut authorities = RootCertStore::empty();
    // Some of a system's certificates may be unreadable for reasons of their own; where none is left, that is said.
    authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let fault = |why: String| Trouble::Setting { setting: "network.ca".into(), path: path.to_owned(), why };
        let bytes = secrets::authorities(path)?;
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let read = read.map_err(|why| fault(format!("it is no PEM file ({why})")))?;
        if read.is_empty() {
            return Err(fault("it holds no certificate in PEM form".into()));
        }
        for certificate in read {
            authorities
                .add(certificate)
                .map_err(|why| fault(format!("it holds a certificate that is none ({why})")))?;
        }
    }
    if authorities.is_empty() {
        return Err(Trouble::NoAuthorities);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|why| failed("TLS", &why))?;
    let mut config = builder.with_root_certificates(authorities).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What a fault of TLS means.
pub(crate) fn trouble(at: &str, fault: &io::Error) -> Trouble {
    let inner = fault.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(inner) = inner else {
        return Trouble::TlsFailed { at: at.to_owned(), why: fault.to_string() };
    };
    let rustls::Error::InvalidCertificate(why) = inner else { return failed(at, inner) };
    let why = match why {
        // A bad signature: another authority that calls itself as one of ours does.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Unverified::UnknownAuthority,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Unverified::OtherName,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Unverified::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Unverified::NotYetValid,
        CertificateError::Revoked => Unverified::Revoked,
        other => Unverified::Other(format!("{other:?}").chars().take(120).collect()),
    };
    Trouble::TlsUnverified { at: at.to_owned(), why }
}

fn failed(at: &str, fault: &rustls::Error) -> Trouble {
    Trouble::TlsFailed { at: at.to_owned(), why: fault.to_string() }
}
