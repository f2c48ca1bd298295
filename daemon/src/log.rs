//! The daemon's log: text, JSON lines or the journal. One line a decision at debug, one an administrator's act at info;
//! never a secret.

use std::io::IsTerminal;

use leasehold_engine::{decision::Notice, row::AuditRow};
use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::config::{Log, LogFormat};

/// Changes what is logged while the daemon runs.
#[derive(Clone)]
pub struct LogFilter {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LogFilter {
    /// From now on this filter counts; one that is not understood changes nothing.
    pub fn set(&self, filter: &str) {
        match EnvFilter::try_new(filter) {
            Ok(new) => drop(self.filter.reload(new)),
            Err(fault) => tracing::warn!("the log filter `{filter}` is not understood and not taken over: {fault}"),
        }
    }
}

/// Starts to log, once for the process.
///
/// # Errors
/// Something logs in this process already.
pub fn start(log: &Log) -> Result<LogFilter, tracing_subscriber::util::TryInitError> {
    // The configuration was checked; what is no filter logs as by default.
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    let text = || {
        let ansi = std::io::stderr().is_terminal();
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi).with_target(false).boxed()
    };
    let mut no_journal = None;
    let output = match log.format {
        LogFormat::Text => text(),
        LogFormat::Json => tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr).boxed(),
        LogFormat::Journald => match tracing_journald::layer() {
            Ok(journal) => journal.with_syslog_identifier("leaseholdd".to_owned()).boxed(),
            Err(fault) => {
                no_journal = Some(fault);
                text()
            }
        },
    };
    tracing_subscriber::registry().with(filter).with(output).try_init()?;
    if let Some(fault) = no_journal {
        tracing::warn!("the journal cannot be reached ({fault}); the log goes to standard error");
    }
    Ok(LogFilter { filter: handle })
}

/// An administrator's act that is now durable.
pub(crate) fn administered(entry: &AuditRow) {
    let AuditRow { id, at: _, identity, action, subject, before: _, after: _, reason } = entry;
    tracing::info!(audit = id.0, %identity, action, subject, reason, "administered");
}

/// What the engine says that people should know.
pub(crate) fn notice(notice: &Notice) {
    match notice {
        Notice::Exceeded { .. } | Notice::HostLost { .. } | Notice::FileEnded { .. } => {
            tracing::error!("{}", notice.message())
        }
        Notice::Standing(told) if told.stage > told.before => {
            tracing::warn!(stage = told.stage.number(), "{}", notice.message())
        }
        Notice::Standing(told) => tracing::info!(stage = told.stage.number(), "{}", notice.message()),
        Notice::FileAbsent { .. } | Notice::FileEndsSoon { .. } => tracing::warn!("{}", notice.message()),
        Notice::ComplianceChecked { .. } => tracing::info!("{}", notice.message()),
    }
}
