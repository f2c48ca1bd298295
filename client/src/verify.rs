//! The check that a licensor stands behind a lease, for applications that have its root built in (feature `verify`).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use leasehold_keys::{
    host::HostVerdicts,
    lease_token::{LeaseToken, Subject, TokenFault},
    refusal::Refusal,
    time::WallTime,
    trust::Trust,
};

use crate::{client::Client, clock, lease::LeaseId, refusal::RequestError, signed::ActivationFiles};

/// A licensor, known by its root. Cheap to clone.
///
/// ```
/// use leasehold_client::Licensor;
///
/// // In an application: include_bytes!("acme.i3root").
/// let refused = Licensor::from_root(b"not a root").err().map(|fault| fault.to_string());
/// assert!(refused.is_some());
/// ```
#[derive(Debug, Clone)]
pub struct Licensor {
    trust: Trust,
    /// Comparisons with host lines are costly by design, and always come out the same.
    verdicts: Arc<Mutex<HostVerdicts>>,
}

/// Why a root is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the root cannot be trusted: {0}")]
pub struct BadRoot(String);

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is no token, was changed, or the licensor does not stand behind it.
    #[error("{0}")]
    NotBelieved(String),
    /// Its time was over: made, with the TTL that it names, before that long.
    #[error("the token's time was over {} s ago", .0.as_secs())]
    Expired(Duration),
    /// The server could not be asked for its files.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl From<TokenFault> for VerifyError {
    fn from(fault: TokenFault) -> Self {
        VerifyError::NotBelieved(format!("{fault}."))
    }
}

/// A lease that an installation signed, and behind whose keys the licensor stands. That they are not used more often than
/// they were licensed for, it does not prove.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedLease {
    /// The lease's number, which is its fencing number.
    pub id: LeaseId,
    /// The installation that signed it.
    pub installation_id: String,
    /// True where each activation file behind it names that very installation; false where one names no host, or records no
    /// installation: then any installation may have the file.
    pub is_bound: bool,
    /// The licenses that grant its keys.
    pub licenses: Vec<String>,
    /// The keys, each with the seats or units that the lease itself takes.
    pub keys: BTreeMap<String, u32>,
    /// The user that logged on; empty where it is for no user.
    pub user: String,
    /// The station used; empty where there is none.
    pub station: String,
    /// The application that it serves.
    pub application: String,
    /// The application server that holds it, such as `name:acd-server-2`.
    pub holder: String,
    /// When the token was made, by the server's clock.
    pub issued: SystemTime,
    /// How long from then the lease stands without a renewal.
    pub ttl: Duration,
}

fn wall(time: SystemTime) -> WallTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Licensor {
    /// The licensor with this root, as it was built into the application.
    ///
    /// # Errors
    ///
    /// [`BadRoot`] where it is none.
    pub fn from_root(root: &[u8]) -> Result<Self, BadRoot> {
        let trust = Trust::anchored(root).map_err(|refusal: Refusal| BadRoot(refusal.to_string()))?;
        Ok(Self { trust, verdicts: Arc::default() })
    }

    /// The trust with the licensor's newer roots, as far as each vouches for the next.
    fn with(&self, roots: &[Vec<u8>]) -> Trust {
        let mut trust = self.trust.clone();
        for root in roots {
            // Older ones, and another licensor's, change nothing.
            if let Ok(newer) = trust.succeed(root) {
                trust = newer;
            }
        }
        trust
    }

    /// Checks a token at this moment: that an installation signed it, that its time is not over, and that the licensor's
    /// activation files among these grant its keys, to that installation where they name one. It may take some hundredths
    /// of a second for an installation that it has not seen before.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] says which of these it was.
    pub fn verify(&self, token: &[u8], files: &ActivationFiles, now: SystemTime) -> Result<VerifiedLease, VerifyError> {
        let lease = LeaseToken::verify(token)?;
        let now = wall(now);
        let over_ms = now.as_ms().saturating_sub(lease.expires().as_ms());
        if over_ms > 0 {
            return Err(VerifyError::Expired(Duration::from_millis(over_ms.unsigned_abs())));
        }
        let notes: Vec<&[u8]> = files.files.values().map(Vec::as_slice).collect();
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let vouched = lease.vouched(&self.with(&files.roots), &notes, now, &mut verdicts)?;
        let (user, station) = match &lease.subject {
            Subject::User { user, station } => (user.to_string(), station.as_ref().map(ToString::to_string)),
            Subject::Station(station) => (String::new(), Some(station.to_string())),
            Subject::Units => (String::new(), None),
        };
        Ok(VerifiedLease {
            id: LeaseId::new(lease.fencing),
            installation_id: lease.installation.id().to_string(),
            is_bound: vouched.is_bound,
            licenses: lease.licenses.iter().map(ToString::to_string).collect(),
            keys: lease.keys.iter().map(|(key, units)| (key.to_string(), *units)).collect(),
            user,
            station: station.unwrap_or_default(),
            application: lease.application.to_string(),
            holder: lease.holder.clone(),
            issued: SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(lease.issued.as_ms()).unwrap_or(0)),
            ttl: Duration::from_millis(lease.ttl_ms),
        })
    }
}

impl Client {
    /// Asks the server for its activation files and checks a token with them, at this moment; see [`Licensor::verify`].
    ///
    /// # Errors
    ///
    /// [`VerifyError`].
    pub async fn verify(&self, licensor: &Licensor, token: &[u8]) -> Result<VerifiedLease, VerifyError> {
        let said = LeaseToken::verify(token)?;
        let files = self.activation_files(said.licenses.iter().map(ToString::to_string)).await?;
        let (licensor, token) = (licensor.clone(), token.to_vec());
        let judged = tokio::task::spawn_blocking(move || licensor.verify(&token, &files, clock::wall())).await;
        judged.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}
