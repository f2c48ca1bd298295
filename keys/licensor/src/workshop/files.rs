//! Files that are whole or not there.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use leasehold_keys::activation::LicenseId;
use uuid::Uuid;

use super::WorkshopFault;

/// The name of an issued file in `issued/`.
pub(crate) fn file_name(license_id: LicenseId, sequence: u32) -> String {
    format!("{license_id}-{sequence}.i3lic")
}

/// Writes a file beside its place and renames it there, so that nobody ever sees a part of it.
///
/// # Errors
///
/// [`WorkshopFault::Io`].
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), WorkshopFault> {
    let io = |fault| WorkshopFault::Io { path: path.to_owned(), fault };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| io(io::Error::from(io::ErrorKind::InvalidInput)))?;
    let beside = folder.join(format!(".{}.{}.tmp", name.to_string_lossy(), Uuid::new_v4()));
    let written = fs::File::create_new(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.map_err(io)?;
    sync_folder(folder).map_err(io)
}

/// Makes new names in a folder durable.
#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
pub(crate) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
