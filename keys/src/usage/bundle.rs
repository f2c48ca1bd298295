//! Bundles of usage files, as `leasehold usage export` writes them: plain tar files. Each file is found by where it lies, so that
//! one can be read without those before it. Whatever else is in a bundle is left alone.

use std::io::{self, Read, Seek, SeekFrom};

use super::FILE_MAX_BYTES;

/// How a bundle's name ends, without the dot.
pub const EXTENSION: &str = "tar";

/// A usage file in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bundled {
    /// Its name, without folders.
    pub name: String,
    offset: u64,
    bytes: u64,
}

/// The usage files (`*.usg`) of a bundle, in its order.
///
/// # Errors
/// It cannot be read, or is no tar file.
pub fn files(bundle: &mut (impl Read + Seek)) -> io::Result<Vec<Bundled>> {
    bundle.seek(SeekFrom::Start(0))?;
    let mut files = Vec::new();
    for entry in tar::Archive::new(bundle).entries_with_seek()? {
        let entry = entry?;
        let path = entry.path()?;
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.ends_with(".usg") && entry.header().entry_type().is_file() {
            files.push(Bundled { name: name.to_owned(), offset: entry.raw_file_position(), bytes: entry.size() });
        }
    }
    Ok(files)
}

impl Bundled {
    /// Its bytes; of one that is larger than a usage file may be, one byte more than that, which the verifier says.
    ///
    /// # Errors
    /// The bundle cannot be read, or ends before the file does.
    pub fn read(&self, bundle: &mut (impl Read + Seek)) -> io::Result<Vec<u8>> {
        bundle.seek(SeekFrom::Start(self.offset))?;
        let most = self.bytes.min(FILE_MAX_BYTES as u64 + 1);
        let mut bytes = Vec::new();
        bundle.take(most).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < most {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("it ends within {}; copy it again, byte for byte", self.name),
            ));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn bundle(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, *bytes).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn usage_files_are_found_and_read_each_by_itself() {
        let long = vec![7; 3_000];
        let bytes = bundle(&[("manifest.json", b"{}"), ("a.usg", &long), ("folder/b.usg", b"b"), ("c.usg", b"")]);
        let mut tar = Cursor::new(&bytes);
        let found = files(&mut tar).unwrap();
        assert_eq!(found.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["a.usg", "b.usg", "c.usg"]);
        assert_eq!(found[1].read(&mut tar).unwrap(), b"b");
        assert_eq!(found[0].read(&mut tar).unwrap(), long);
        assert_eq!(found[2].read(&mut tar).unwrap(), b"");
        // Twice the same.
        assert_eq!(files(&mut tar).unwrap(), found);
    }

    #[test]
    fn what_is_no_bundle_or_half_a_bundle_is_told() {
        assert!(files(&mut Cursor::new(vec![0xff; 2_048])).is_err());
        assert_eq!(files(&mut Cursor::new(Vec::new())).unwrap(), []);
        let bytes = bundle(&[("a.usg", &[7; 3_000])]);
        let whole = files(&mut Cursor::new(&bytes)).unwrap();
        let fault = whole[0].read(&mut Cursor::new(&bytes[..1_024])).unwrap_err();
        assert!(fault.to_string().contains("ends within a.usg"), "{fault}");
    }
}
