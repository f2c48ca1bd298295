//! The licensor's endpoint of `leaseholdd dev`: usage files come in over HTTPS on loopback, signed receipts go out, and
//! check-ins are answered. Its certificate is made anew at each start, and only this daemon believes it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use licensor::{
    serve::{self, Desks, Serving},
    workshop::Workshop,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::TcpListener;
use tokio_rustls::rustls::{ServerConfig, pki_types::PrivateKeyDer};

use super::DevFault;
use crate::{clock::Clock, files};

/// The endpoint, open or closed. Its address and its certificate stay.
pub(super) struct Endpoint {
    address: SocketAddr,
    tls: Arc<ServerConfig>,
    /// Taken before anybody serves on it, so that the sample file can name the address.
    listener: Option<TcpListener>,
    serving: Option<Serving>,
}

impl Endpoint {
    /// Takes a free port, and puts the certificate where the daemon reads it. Nobody answers yet.
    pub(super) async fn prepare(certificate: &Path) -> Result<Self, DevFault> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()]).map_err(|why| fault(&why))?;
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).map_err(|why| fault(&why))?;
        let tls = serve::tls::config(vec![cert.der().clone()], key).map_err(|why| fault(&why))?;
        files::replace(certificate, cert.pem().as_bytes(), 0o644)
            .map_err(|fault| DevFault::File { path: certificate.to_owned(), fault })?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|why| fault(&why))?;
        let address = listener.local_addr().map_err(|why| fault(&why))?;
        Ok(Self { address, tls, listener: Some(listener), serving: None })
    }

    /// Where it is: `https://127.0.0.1:PORT`.
    pub(super) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Serves from now on. What comes in is kept in the licensor's folder, which is the endpoint's while it is open.
    pub(super) async fn open(&mut self, workshop: &Workshop, clock: &Clock) -> Result<(), DevFault> {
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => TcpListener::bind(self.address).await.map_err(|why| fault(&why))?,
        };
        let now = clock.trusted();
        let desks = Desks::new(workshop.intake(workshop.dir(), now)?).with_check_ins(workshop.check_ins(now)?);
        let clock = clock.clone();
        let serving = serve::start(listener, self.tls.clone(), desks, Arc::new(move || clock.trusted()));
        self.serving = Some(serving.map_err(|why| fault(&why))?);
        Ok(())
    }

    /// Nobody answers any more.
    pub(super) async fn close(&mut self) {
        self.listener = None;
        if let Some(serving) = self.serving.take()
            && let Err(fault) = serving.stop().await
        {
            tracing::warn!("The licensor's endpoint did not end in order: {fault}");
        }
    }
}

fn fault(why: &dyn std::fmt::Display) -> DevFault {
    DevFault::Endpoint(why.to_string())
}
