//! The highest lease ID ever seen, kept over restarts of the application where it names a file (03, Witness).
//!
//! It need not be exact: a value that is a second old still shows a daemon that was rolled back by more than that.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A file with one decimal number.
#[derive(Debug, Clone)]
pub(crate) struct HighestFile {
    path: PathBuf,
}

impl HighestFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The number kept; 0 where there is no file yet.
    pub(crate) fn load(&self) -> io::Result<u64> {
        match fs::read_to_string(&self.path) {
            Ok(text) => text
                .trim()
                .parse()
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it does not hold one decimal number")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Replaces the number in one step: a reader never sees half of it.
    pub(crate) fn store(&self, highest: u64) -> io::Result<()> {
        let mut next = self.path.clone().into_os_string();
        next.push(".new");
        fs::write(&next, format!("{highest}\n"))?;
        fs::rename(&next, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_one_number_and_refuses_anything_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = HighestFile::new(folder.path().join("highest"));
        assert_eq!(file.load().expect("no file is 0"), 0);
        file.store(u64::MAX).expect("stored");
        file.store(41).expect("stored again");
        assert_eq!(file.load().expect("loaded"), 41);
        fs::write(file.path(), "forty-one").expect("written");
        assert!(file.load().expect_err("no number").to_string().contains("decimal number"));
    }
}
