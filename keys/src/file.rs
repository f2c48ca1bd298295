//! Reading a signed file from a folder that others write: once, bounded, and only if it is a file. What lies there may
//! be a link to a secret, a pipe that never ends or a device.

use std::{fs, io::Read as _, path::Path};

use crate::{
    note::NOTE_MAX_BYTES,
    refusal::{Reason, Refusal},
};

/// The bytes of a signed file, at most [`NOTE_MAX_BYTES`]. Never follows a link as the last part of `path`, never waits
/// for a pipe.
///
/// # Errors
/// `not-a-regular-file`, `unreadable`, `too-large`.
pub fn read(path: &Path) -> Result<Vec<u8>, Refusal> {
    let unreadable =
        |fault: std::io::Error| Refusal::new(Reason::Unreadable, format!("The file cannot be read: {fault}"));
    let not_a_file = || Refusal::new(Reason::NotARegularFile, "This is a link, folder, pipe or device, not a file");
    if !fs::symlink_metadata(path).map_err(unreadable)?.is_file() {
        return Err(not_a_file());
    }
    // Between the two looks it may have been changed for another, so the opening must be safe by itself.
    let mut options = fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    }
    let file = options.open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(not_a_file());
    }
    let mut bytes = Vec::new();
    file.take(NOTE_MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > NOTE_MAX_BYTES {
        return Err(Refusal::new(
            Reason::TooLarge,
            format!("The file has more than {NOTE_MAX_BYTES} bytes, the most of a signed file"),
        ));
    }
    Ok(bytes)
}
