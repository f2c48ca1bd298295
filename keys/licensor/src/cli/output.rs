//! Words to standard output. Who reads them may stop reading, as `head` does: then the program ends, without a panic.

use std::{
    fmt,
    io::{self, Write as _},
};

use super::exit::Exit;

/// Prints a line.
macro_rules! say {
    () => { $crate::cli::output::write(format_args!("\n")) };
    ($($words:tt)*) => { $crate::cli::output::write(format_args!("{}\n", format_args!($($words)*))) };
}

/// Prints without ending the line.
macro_rules! say_part {
    ($($words:tt)*) => { $crate::cli::output::write(format_args!($($words)*)) };
}

/// Writes to standard output. What was to be done is done by then, so a reader that has gone is no fault; any other is
/// told, and ends the program.
pub(super) fn write(words: fmt::Arguments<'_>) {
    if let Err(fault) = io::stdout().lock().write_fmt(words) {
        let exit = match fault.kind() {
            io::ErrorKind::BrokenPipe => Exit::Done,
            _ => {
                eprintln!("error: standard output: {fault}");
                Exit::Failed
            }
        };
        std::process::exit(exit as i32);
    }
}
