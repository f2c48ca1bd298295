//! The licensor from outside: the library as other programs use it, and the program as a vendor does.

mod cli;
mod cli_keys;
mod levels;
mod orders;
mod support;
mod workshop;
