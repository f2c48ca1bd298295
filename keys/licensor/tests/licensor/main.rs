//! The licensor from outside: the library as other programs use it, and the program as a vendor does.

mod check_in_accounts;
mod check_in_evidence;
#[cfg(any(debug_assertions, feature = "scripted-faults"))]
mod check_in_faults;
mod check_in_model;
mod check_in_site;
mod check_ins;
mod cli;
mod cli_check_in;
mod cli_keys;
mod intake;
mod levels;
mod orders;
mod serve;
mod support;
mod usage;
mod usage_files;
mod workshop;
