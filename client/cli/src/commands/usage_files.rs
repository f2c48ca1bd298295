//! `leasehold usage verify FILES`: usage files as they lie here, in folders and in bundles. No daemon and no key is needed.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use leasehold_keys::usage::{FILE_MAX_BYTES, Sequence, bundle, salvage};

use super::Outcome;
use crate::{
    args::usage::VerifyArgs, exit::ExitCode, failure::Failure, output::Output, render::usage::VerifyUsageDocument,
};

/// Folders within folders that are looked into.
const DEPTH_MAX: u32 = 8;

/// What was seen.
struct Looked {
    sequence: Sequence,
    files: u32,
    records: u64,
}

pub(super) fn verify(args: &VerifyArgs, output: &mut Output) -> Outcome {
    let mut paths = BTreeSet::new();
    for path in &args.files {
        let facts = fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?;
        if facts.is_dir() {
            look_into(path, DEPTH_MAX, &mut paths)?;
        } else {
            paths.insert(path.clone());
        }
    }
    let sequence = if args.whole { Sequence::new() } else { Sequence::new().excerpt() };
    let mut looked = Looked { sequence, files: 0, records: 0 };
    for path in &paths {
        let fail = |error: io::Error| Failure::file("read", path, &error);
        if !fs::metadata(path).map_err(fail)?.is_file() {
            return Err(Failure::new(ExitCode::Usage, format!("{} is not a plain file", path.display())).into());
        }
        let mut file = File::open(path).map_err(fail)?;
        if path.extension() == Some(OsStr::new(bundle::EXTENSION)) {
            looked.bundle(path, file)?;
        } else {
            let bytes = bounded(&mut file).map_err(fail)?;
            looked.file(path.file_name(), &bytes);
        }
    }
    if looked.files == 0 {
        let named: Vec<_> = args.files.iter().map(|path| path.display().to_string()).collect();
        let message = format!("there is no usage file (*.usg) in {}", named.join(", "));
        return Err(Failure::new(ExitCode::NotFound, message).into());
    }
    let report = looked.sequence.finish();
    let begin = if args.whole { "" } else { ", and older ones (--whole asks for all from the first)" };
    let message = format!(
        "from these files alone: whether newer ones are missing{begin} does not show in them; `leasehold usage verify` \
         on the server knows"
    );
    let document = VerifyUsageDocument::of(&report, looked.files, looked.records, message);
    output.show(&document)?;
    Ok(if document.intact { ExitCode::Done } else { ExitCode::UsageDamaged })
}

impl Looked {
    fn file(&mut self, name: Option<&OsStr>, bytes: &[u8]) {
        self.files += 1;
        self.records += salvage(bytes).map_or(0, |file| file.records());
        self.sequence.add(&name.unwrap_or_default().to_string_lossy(), bytes);
    }

    /// The usage files of a bundle; whatever else is in it is left alone.
    fn bundle(&mut self, path: &Path, mut file: File) -> Result<(), Failure> {
        let fail = |error: io::Error| Failure::file("read", path, &error);
        for bundled in bundle::files(&mut file).map_err(fail)? {
            let bytes = bundled.read(&mut file).map_err(fail)?;
            self.file(Some(OsStr::new(&bundled.name)), &bytes);
        }
        Ok(())
    }
}

/// One byte more than a usage file has shows that it is too large, which the verifier says.
fn bounded(file: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Usage files below a folder. Bundles are looked at where they are named: one beside its own files would be a copy of them.
fn look_into(folder: &Path, depth: u32, found: &mut BTreeSet<PathBuf>) -> Result<(), Failure> {
    let fail = |error: io::Error| Failure::file("read", folder, &error);
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let (kind, path) = (entry.file_type().map_err(fail)?, entry.path());
        if kind.is_dir() && depth > 0 {
            look_into(&path, depth - 1, found)?;
        } else if kind.is_file() && path.extension() == Some(OsStr::new("usg")) {
            found.insert(path);
        }
    }
    Ok(())
}
