//! Leases as signed tokens, and the licensor's files that stand behind them (03, Signed leases).

use std::collections::BTreeMap;

use leasehold_proto::v1;
use tonic::Code;

use crate::{
    client::Client,
    lease::LeaseId,
    refusal::{Refusal, RequestError},
};

/// Answers that carry files, each of up to 128 KiB.
const LARGEST_FILES_BYTES: usize = 16 * 1024 * 1024;

/// What a server shows of what the licensor signed: the activation files in effect, and newer roots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ActivationFiles {
    /// The files as they were signed, by license ID.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Roots, oldest first; each vouches for the next.
    pub roots: Vec<Vec<u8>>,
}

impl Client {
    /// A lease that is held as a token that the server's installation signs now: what the lease is, whose, and until when it
    /// stands without a renewal. It can be shown where the server cannot be asked. To have one with the grant itself, ask
    /// for it [`signed`](crate::Logon::signed).
    ///
    /// # Errors
    ///
    /// [`RequestError`] where the server refuses, or does not answer within the client's patience.
    pub async fn sign(&self, lease: LeaseId) -> Result<Vec<u8>, RequestError> {
        let question = v1::SignLeasesRequest { caller: Some(self.caller.clone()), lease_ids: vec![lease.get()] };
        let answer = self
            .ask(|mut leasing| {
                let question = question.clone();
                async move { leasing.sign_leases(question).await }
            })
            .await?;
        match answer.leases.into_iter().next() {
            Some(v1::SignedLease { refusal: Some(refusal), .. }) => Err(RequestError::Refused(Refusal::from(refusal))),
            Some(signed) if !signed.token.is_empty() => Ok(signed.token),
            Some(_) | None => Err(RequestError::Refused(Refusal {
                code: Code::Internal,
                reason: "NOT_SIGNED".to_owned(),
                message: format!("The license server did not sign lease {lease}."),
                facts: BTreeMap::new(),
                retry_after: None,
            })),
        }
    }

    /// The activation files of these licenses (at most 64; none named: all in effect) as the licensor signed them, and its
    /// roots: what a token is checked with.
    ///
    /// # Errors
    ///
    /// [`RequestError`] where the server refuses, or does not answer within the client's patience.
    pub async fn activation_files<L: Into<String>>(
        &self,
        licenses: impl IntoIterator<Item = L>,
    ) -> Result<ActivationFiles, RequestError> {
        let question = v1::ActivationFilesRequest {
            caller: Some(self.caller.clone()),
            license_ids: licenses.into_iter().map(Into::into).collect(),
            root_version: 0,
        };
        let answer = self
            .ask(|leasing| {
                let question = question.clone();
                let mut leasing = leasing.max_decoding_message_size(LARGEST_FILES_BYTES);
                async move { leasing.activation_files(question).await }
            })
            .await?;
        Ok(ActivationFiles {
            files: answer.files.into_iter().map(|file| (file.license_id, file.note)).collect(),
            roots: answer.roots,
        })
    }
}
