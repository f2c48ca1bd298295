//! The licensor's endpoint of `leaseholdd dev`: usage files come in over HTTPS on loopback, signed receipts go out. Its
//! certificate is made anew at each start, and only this daemon believes it.

use std::{net::Ipv4Addr, path::Path, sync::Arc};

use licensor::{
    serve::{self, Serving},
    workshop::Workshop,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::DevFault;
use crate::{clock::Clock, files};

/// Serves on a free port, and puts the certificate where the daemon reads it. What comes in is kept in the licensor's folder.
pub(super) async fn start(workshop: &Workshop, certificate: &Path, clock: &Clock) -> Result<Serving, DevFault> {
    let fault = |fault: &dyn std::fmt::Display| DevFault::Endpoint(fault.to_string());
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()]).map_err(|why| fault(&why))?;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).map_err(|why| fault(&why))?;
    let tls = serve::tls::config(vec![cert.der().clone()], key).map_err(|why| fault(&why))?;
    files::replace(certificate, cert.pem().as_bytes(), 0o644)
        .map_err(|fault| DevFault::File { path: certificate.to_owned(), fault })?;
    let intake = workshop.intake(workshop.dir(), clock.trusted())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|why| fault(&why))?;
    let clock = clock.clone();
    serve::start(listener, tls, intake, Arc::new(move || clock.trusted())).map_err(|why| fault(&why))
}
