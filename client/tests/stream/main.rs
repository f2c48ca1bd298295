//! The client library against a scripted server on a Unix socket: what goes over the wire, and when.

mod connection;
mod holding;
mod requesting;
mod script;
mod succession;
