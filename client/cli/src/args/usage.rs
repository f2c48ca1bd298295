//! What can be typed after `leasehold usage`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use leasehold_keys::usage::Period;

/// `leasehold usage …`.
#[derive(Debug, Subcommand)]
pub enum UsageCommand {
    /// List the usage files: day, size, records, how far each has come, why it came no further
    List,
    /// Seal what waits now instead of within a minute, so that today's file holds it
    Seal,
    /// Try to send what waits now, whatever the next attempt waits for (exit codes 10 and 13 where it fails)
    #[command(after_help = SEND_HELP)]
    Send,
    /// Check that usage files are what was written; needs no key (exit code 12 where they are not)
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArgs),
    /// Bundle the files that a billing period needs into one tar file, for sending it by hand
    #[command(after_help = EXPORT_HELP)]
    Export(ExportArgs),
    /// Take the licensor's receipts for usage files
    Receipt(ReceiptArgs),
}

const SEND_HELP: &str = "\
The daemon sends closed usage files by itself, and after a failure it waits from a minute up to an hour. This tries again at \
once, such as after the configuration, the proxy or the bucket was mended, and tells what came of it.

Exit codes: 0 nothing fails, 10 single files fail (refused, a wrong receipt, damaged), 13 nothing goes out.";

const VERIFY_HELP: &str = "\
Without FILES the daemon looks through its own usage/ and compares it with what its database knows: a file that was \
deleted shows there even if it was the newest. With FILES no daemon is asked, and any machine will do. What is found is \
found by the hash chain, the checksums and the installation's signatures: files and records that were deleted, edited, \
moved or doubled. That the newest files are missing cannot be seen in the files alone.

Exit codes: 0 all is as it was written, 12 something is not, 4 there is no usage file.";

const EXPORT_HELP: &str = "\
A period is named by the month in which it ends: 2026-11 runs from 28 October 00:00 to 28 November 00:00 in the time \
zone of the site, and its files are due before 4 December.

The bundle is a plain tar file (`tar tf` lists it). First comes manifest.json, the document that --json prints; then \
the closed usage files (*.usg) that touch the period, the oldest first, byte for byte as they lie in usage/. They stay \
sealed: only the licensor, and who holds the key of `usage.reader`, can open them.

Exit codes: 0 the bundle is complete, 10 it was written and something is missing or still open, as told.";

/// `leasehold usage verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Usage files, bundles (*.tar) or folders with usage files; without any, the daemon looks through its own
    #[arg(value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// The files are to be there from the first segment of each installation on
    #[arg(long, requires = "files")]
    pub whole: bool,
}

/// `leasehold usage export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The billing period, by the month in which it ends
    #[arg(long, value_name = "YYYY-MM")]
    pub period: Period,
    /// Write the bundle to this file [default: usage-YYYY-MM.tar]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite the file if it exists
    #[arg(long)]
    pub force: bool,
    /// Only say what would be in it and what is missing, and write nothing
    #[arg(long, conflicts_with_all = ["output", "force"])]
    pub check: bool,
}

/// `leasehold usage receipt`.
#[derive(Debug, Args)]
pub struct ReceiptArgs {
    /// The receipts that the licensor sent (each at most 128 KiB)
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}
