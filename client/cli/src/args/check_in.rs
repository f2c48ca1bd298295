//! What can be typed after `leasehold standing` and `leasehold check-in`.

use std::path::PathBuf;

use clap::Args;

use super::values::{Ahead, Name, Until};

/// The end of the help of `leasehold standing`.
pub(super) const STANDING_HELP: &str = "\
A site that its licensor has not heard of for a grace period goes one stage down, and another one for each grace period \
more; a good check-in at any stage restores everything at once. Live calls are never ended.

  1 fully functional      nothing is limited
  2 quiet warning         a notice in `leasehold status`
  3 obtrusive warning     a notice on every answer of this program; application servers are told
  4 supervisor disabled   supervisor keys are refused, and leave the leases that hold them
  5 ports limited         of each pool of call ports a fifth, at least 2
  6 unlicensed            2 call ports in all and nothing else; other leases end when idle, after 12 hours at the latest

Examples:
  leasehold standing
  leasehold standing --at 2026-12-20
  leasehold standing --offline 20d";

/// The end of the help of `leasehold check-in`.
pub(super) const CHECK_IN_HELP: &str = "\
The daemon checks in by itself, every 12 hours and soon after a failure. Without a network the same goes by file:

  leasehold check-in --request site.check-in   # carry it to the licensor
  leasehold check-in --answer site.answer      # what comes back; within 14 days, once

Exit codes: 0 in good standing, 14 a check-in failed or its answer was another, 10 of several licenses some, 9 the file was \
refused.";

/// `leasehold standing`.
#[derive(Debug, Args)]
pub struct StandingArgs {
    /// Only the stages that come by then, if no check-in is answered: a date (that day included), a time, or 20d
    #[arg(long, value_name = "TIME", conflicts_with = "offline")]
    pub at: Option<Until>,
    /// Only the stages that come in so long a time without check-ins, such as 20d
    #[arg(long, value_name = "TIME")]
    pub offline: Option<Ahead>,
}

/// `leasehold check-in`.
#[derive(Debug, Args)]
pub struct CheckInArgs {
    /// Write a request to this file (or into this folder), to be carried to the licensor by hand
    #[arg(long, value_name = "FILE", conflicts_with = "answer")]
    pub request: Option<PathBuf>,
    /// Take the licensor's answer to such a request, or a time note, from this file (at most 128 KiB)
    #[arg(long, value_name = "FILE", conflicts_with = "license")]
    pub answer: Option<PathBuf>,
    /// Only for this license; for a request it must be named where there are several
    #[arg(long, value_name = "LICENSE-ID")]
    pub license: Option<Name>,
}
