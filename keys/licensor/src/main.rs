//! `licensor`: arguments in, words out. The only place of this package that reads the clock, the environment and the
//! terminal; what is done is done by the library.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;
use leasehold_keys::time::WallTime;

fn main() -> ExitCode {
    let arguments = cli::args::Arguments::parse();
    match cli::run(arguments, now) {
        Ok(()) => cli::exit::Exit::Done.into(),
        Err(fault) => {
            eprintln!("error: {}", fault.message);
            fault.exit.into()
        }
    }
}

/// The one place of this program that reads the clock.
fn now() -> WallTime {
    #[expect(clippy::disallowed_methods, reason = "this is that place")]
    let now = jiff::Timestamp::now();
    WallTime::from_ms(now.as_millisecond())
}
