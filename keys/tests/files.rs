//! Reading from a folder that others write.

use std::{fs, os::unix::fs::symlink};

use leasehold_keys::{file, note::NOTE_MAX_BYTES};
use rustix::fs::{CWD, FileType, Mode, mknodat};

#[test]
fn only_files_of_bounded_size_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("good"), b"text").unwrap();
    fs::write(path("most"), vec![b'x'; NOTE_MAX_BYTES]).unwrap();
    fs::write(path("more"), vec![b'x'; NOTE_MAX_BYTES + 1]).unwrap();
    // A sparse file costs no disk, and must cost no memory.
    fs::File::create(path("huge")).unwrap().set_len(1 << 40).unwrap();
    fs::create_dir(path("folder")).unwrap();
    symlink(path("good"), path("link")).unwrap();
    symlink("/dev/zero", path("device")).unwrap();
    symlink(path("none"), path("dangling")).unwrap();
    mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let code = |name: &str| file::read(&path(name)).map_err(|refusal| refusal.reason());
    assert_eq!(code("good"), Ok(b"text".to_vec()));
    assert_eq!(code("most").map(|bytes| bytes.len()), Ok(NOTE_MAX_BYTES));
    for (name, reason) in [
        ("more", "too-large"),
        ("huge", "too-large"),
        ("folder", "not-a-regular-file"),
        ("link", "not-a-regular-file"),
        ("device", "not-a-regular-file"),
        ("dangling", "not-a-regular-file"),
        ("fifo", "not-a-regular-file"),
        ("none", "unreadable"),
    ] {
        assert_eq!(code(name), Err(reason), "{name}");
    }
}
