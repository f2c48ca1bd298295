//! The daemon's log: text, JSON lines or the journal. One line a decision at debug, one an administrator's act at info;
//! never a secret.

use leasehold_engine::{decision::Notice, row::AuditRow};

/// An administrator's act that is now durable.
pub(crate) fn administered(entry: &AuditRow) {
    let AuditRow { id, at: _, identity, action, subject, before: _, after: _, reason } = entry;
    tracing::info!(audit = id.0, %identity, action, subject, reason, "administered");
}

/// What the engine says that people should know.
pub(crate) fn notice(notice: &Notice) {
    match notice {
        Notice::Exceeded { .. } | Notice::HostLost { .. } | Notice::FileEnded { .. } => tracing::error!("{}", notice.message()),
        Notice::FileAbsent { .. } | Notice::FileEndsSoon { .. } => tracing::warn!("{}", notice.message()),
        Notice::ComplianceChecked { .. } => tracing::info!("{}", notice.message()),
    }
}
