//! The command line against a scripted daemon on a Unix socket: what is asked, what is shown, and how it ends.

mod json;
mod lists;
mod parser;
mod process;
mod scripted;
mod sessions;
mod site;
mod standing;
mod terminal;
mod usage;
