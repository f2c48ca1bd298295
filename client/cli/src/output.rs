//! Where results and errors go: documents as text or JSON to standard output, errors and remarks to standard error.

use std::io::{self, Read, Write};

use crate::{
    Surroundings,
    clock::Clock,
    exit::ExitCode,
    failure::Failure,
    notice::Notice,
    render::{
        Document,
        page::{Page, Tone, clean, paint},
    },
};

/// The streams of one run, and the form that was asked for.
pub struct Output {
    clock: Clock,
    width: Option<u16>,
    json: bool,
    stdin: Box<dyn Read>,
    stdout: Box<dyn Write>,
    stderr: Box<dyn Write>,
}

impl Output {
    /// Takes the streams over.
    #[must_use]
    pub fn new(surroundings: Surroundings, json: bool) -> Self {
        let Surroundings { clock, width, stdin, stdout, stderr } = surroundings;
        Self { clock, width, json, stdin, stdout, stderr }
    }

    /// The clock of this run.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether JSON was asked for.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Standard input.
    pub fn stdin(&mut self) -> &mut dyn Read {
        &mut *self.stdin
    }

    /// Overrides what the streams find out by themselves about colors.
    pub fn force_color(&mut self, choice: anstream::ColorChoice) {
        // The choice is global to the process and read when a stream is made.
        choice.write_global();
        self.stdout = Box::new(anstream::stdout());
        self.stderr = Box::new(anstream::stderr());
    }

    /// Shows a result.
    ///
    /// # Errors
    ///
    /// Where standard output cannot be written, a closed pipe among them.
    pub fn show(&mut self, document: &impl Document) -> io::Result<()> {
        let text = if self.json {
            let mut json = serde_json::to_string_pretty(document).map_err(io::Error::other)?;
            json.push('\n');
            json
        } else {
            let mut page = Page::new(&self.clock, self.width);
            document.write_text(&mut page);
            page.into_text()
        };
        self.show_raw(text.as_bytes())
    }

    /// Writes to standard output as it is.
    ///
    /// # Errors
    ///
    /// Where standard output cannot be written, a closed pipe among them.
    pub fn show_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stdout.write_all(bytes)?;
        self.stdout.flush()
    }

    /// Shows a failure on standard error, and returns its exit code.
    pub fn show_failure(&mut self, failure: &Failure) -> ExitCode {
        let text = if self.json {
            match serde_json::to_string_pretty(&failure.document()) {
                Ok(json) => json + "\n",
                Err(error) => format!("error: {error}\n"),
            }
        } else {
            let mut text = format!("{} {}\n", paint(Tone::Bad, "error:"), clean(&failure.message));
            if let Some(ms) = failure.retry_after_ms {
                text.push_str(&format!("  try again in {}\n", crate::clock::duration(ms.max(1_000))));
            }
            if let Some(hint) = &failure.hint {
                text.push_str(&format!("{} {}\n", paint(Tone::Note, "hint:"), clean(hint)));
            }
            text
        };
        // Nothing is left to be done where standard error cannot be written: the exit code says it all the same.
        let _ = self.stderr.write_all(text.as_bytes()).and_then(|()| self.stderr.flush());
        failure.exit
    }

    /// Says on standard error what is to be said on every answer. A program that asked for JSON gets a document of its own,
    /// but beside a failure: there is one document on standard error, and that is the error.
    pub(crate) fn show_notice(&mut self, notice: &Notice, exit: ExitCode) {
        let standing = notice.standing();
        let text = if self.json {
            let document = serde_json::json!({ "notice": {
                "stage": standing.stage,
                "name": standing.name,
                "message": standing.in_brief(&self.clock),
            }});
            if matches!(exit, ExitCode::Done) { format!("{document:#}\n") } else { String::new() }
        } else {
            format!(
                "{} {}\n{} `leasehold check-in` checks in now; `leasehold standing` tells what stands in the way\n",
                paint(Tone::Warn, "notice:"),
                clean(&standing.in_brief(&self.clock)),
                paint(Tone::Note, "hint:"),
            )
        };
        let _ = self.stderr.write_all(text.as_bytes()).and_then(|()| self.stderr.flush());
    }

    /// Shows help where it was asked for, and what is wrong with the command line where something is.
    pub fn show_parse_error(&mut self, error: &clap::Error) -> ExitCode {
        use clap::error::ErrorKind;
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                match self.show_raw(error.render().ansi().to_string().as_bytes()) {
                    Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::Unexpected,
                    _ => ExitCode::Done,
                }
            }
            _ if self.json => {
                let text = error.render().to_string();
                let mut lines = text.lines();
                let message = lines.next().unwrap_or_default();
                let message = message.strip_prefix("error: ").unwrap_or(message).to_owned();
                let rest: Vec<&str> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
                let mut failure = Failure::new(ExitCode::Usage, message);
                failure.hint = Some(rest.join(" ")).filter(|hint| !hint.is_empty());
                self.show_failure(&failure)
            }
            _ => {
                let text = error.render().ansi().to_string();
                let _ = self.stderr.write_all(text.as_bytes()).and_then(|()| self.stderr.flush());
                ExitCode::Usage
            }
        }
    }
}
