//! Names of subjects from a file or standard input, one a line. Blank lines are skipped; a bad line is named.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use crate::{args::values::Name, exit::ExitCode, failure::Failure, output::Output};

/// The most names that are read: as many as fit in one call.
pub(super) const NAMES_LIMIT: usize = 10_000;
/// The longest line, in bytes; beyond a name's own limit there is room for blanks around it.
const LINE_LIMIT_BYTES: u64 = 4_096;

/// Reads the names; `-` is standard input.
pub(super) fn read(path: &Path, output: &mut Output) -> Result<Vec<Name>, Failure> {
    if path == Path::new("-") {
        return read_lines(BufReader::new(output.stdin()), "standard input", path);
    }
    let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    read_lines(BufReader::new(file), &path.display().to_string(), path)
}

fn read_lines(mut reader: impl BufRead, what: &str, path: &Path) -> Result<Vec<Name>, Failure> {
    let mut names = Vec::new();
    let usage = |message: String| Failure::new(ExitCode::Usage, message);
    for number in 1_u64.. {
        let mut line = String::new();
        let length = match (&mut reader).take(LINE_LIMIT_BYTES).read_line(&mut line) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(usage(format!("{what}, line {number}: not UTF-8")));
            }
            Err(error) => return Err(Failure::file("read", path, &error)),
        };
        if length == 0 {
            break;
        }
        // Files come from spreadsheets on Windows too: a mark before the first name and CR at line ends are no part of it.
        let name = line.trim_start_matches('\u{feff}').trim();
        if name.is_empty() {
            continue;
        }
        names.push(name.parse().map_err(|error| usage(format!("{what}, line {number}: {error}")))?);
        if names.len() > NAMES_LIMIT {
            return Err(
                usage(format!("{what} has more than {NAMES_LIMIT} names")).with_hint("split it, or use several runs")
            );
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::read_lines;

    fn names_of(text: &[u8]) -> Result<Vec<String>, String> {
        read_lines(text, "the file", Path::new("x"))
            .map(|names| names.iter().map(ToString::to_string).collect())
            .map_err(|failure| failure.message)
    }

    #[test]
    fn lines_are_names() {
        assert_eq!(
            names_of("\u{feff}agent-1\r\n\n  Ann O'Neil \nagent-3".as_bytes()),
            Ok(vec!["agent-1".to_owned(), "Ann O'Neil".to_owned(), "agent-3".to_owned()])
        );
        assert_eq!(names_of(b""), Ok(Vec::new()));
    }

    #[test]
    fn bad_lines_are_named() {
        assert_eq!(
            names_of(b"agent-1\nage\x07nt\n"),
            Err("the file, line 2: a name cannot contain control characters".to_owned())
        );
        assert_eq!(names_of(b"agent-1\n\xff\n"), Err("the file, line 2: not UTF-8".to_owned()));
        assert!(names_of(&[b'x'; 5_000]).unwrap_err().contains("line 1: a name has at most 256 bytes"));
        assert!(names_of("a\n".repeat(10_001).as_bytes()).unwrap_err().contains("more than 10000 names"));
    }
}
