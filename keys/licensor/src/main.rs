//! `licensor`: arguments in, words out. The only place of this package that reads the clock, the environment and the
//! terminal; what is done is done by the library.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = cli::args::Arguments::parse();
    #[expect(clippy::disallowed_methods, reason = "the one place of this program that reads the clock")]
    let now = leasehold_keys::time::WallTime::from_ms(jiff::Timestamp::now().as_millisecond());
    match cli::run(arguments, now) {
        Ok(()) => cli::exit::Exit::Done.into(),
        Err(fault) => {
            eprintln!("error: {}", fault.message);
            fault.exit.into()
        }
    }
}
