//! The licensor from outside: the library as other programs use it, and the program as a vendor does.

mod cli;
mod cli_keys;
mod intake;
mod levels;
mod orders;
mod serve;
mod support;
mod usage;
mod usage_files;
mod workshop;
