//! The administrator's command line as a library: the parser, and [`run`], which is the whole program with its
//! arguments, streams and clock given to it. It holds no licensing rule: the daemon decides, this shows.

use std::{ffi::OsString, io};

use clap::Parser;

pub mod args;
pub mod clock;
mod commands;
pub mod exit;
pub mod failure;
mod notice;
pub mod output;
pub mod reason;
pub mod render;
pub mod session;

use args::{Cli, Color};
use clock::Clock;
use exit::ExitCode;
use failure::Failure;
use output::Output;

/// Everything outside of the program that it may touch, apart from the daemon and the files that are named to it.
pub struct Surroundings {
    /// The time, read once.
    pub clock: Clock,
    /// The width of the terminal in columns, where there is one; without one nothing is wrapped.
    pub width: Option<u16>,
    /// Standard input.
    pub stdin: Box<dyn io::Read>,
    /// Standard output. Text comes with ANSI styles: the stream takes them out where they do not belong.
    pub stdout: Box<dyn io::Write>,
    /// Standard error, likewise.
    pub stderr: Box<dyn io::Write>,
}

/// Runs one command and says how it ended. Results go to standard output, errors and hints to standard error.
pub async fn run<I>(arguments: I, surroundings: Surroundings) -> ExitCode
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    // A wrong command line has no parsed --json, yet a script that asked for JSON wants its errors so too.
    let json = arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json");
    let mut output = Output::new(surroundings, json);
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return output.show_parse_error(&error),
    };
    match cli.globals.color {
        Color::Auto => {}
        Color::Always => output.force_color(anstream::ColorChoice::AlwaysAnsi),
        Color::Never => output.force_color(anstream::ColorChoice::Never),
    }
    let mut notice = None;
    let exit = match commands::run(cli, &mut output, &mut notice).await {
        Ok(exit) => exit,
        Err(commands::Stop::Failed(failure)) => output.show_failure(&failure),
        Err(commands::Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::Done,
        Err(commands::Stop::Output(error)) => output.show_failure(&Failure::from(error)),
    };
    if let Some(notice) = notice {
        output.show_notice(&notice, exit);
    }
    exit
}
