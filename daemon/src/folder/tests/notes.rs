//! Notes of refusal: beside the file, in the state directory, never through a link, never in place of another's words.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use leasehold_engine::refusal::FileRefusal;

use super::{Site, refused};

#[test]
fn the_engines_refusals_get_their_notes_too() {
    let mut site = Site::new();
    site.put("old.i3lic", &site.file(1));
    site.refuse = Some(FileRefusal::RolledBack { offered: 1, accepted: 4 });
    site.settle();
    assert_eq!(site.fate("old.i3lic"), refused("rolled-back"));
    let note = site.note("old.i3lic").unwrap();
    assert!(note.contains("sequence 4 of the same license was accepted before"), "{note}");
}

#[test]
fn a_note_goes_when_its_file_goes_and_is_written_once() {
    let mut site = Site::new();
    site.put("bad.i3lic", b"not a note\n");
    site.settle();
    let path = site.path("bad.i3lic.rejected.txt");
    let inode = |path: &PathBuf| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let first = inode(&path);
    site.later(61_000);
    assert_eq!(inode(&path), first, "the same text is not written again");
    fs::remove_file(site.path("bad.i3lic")).unwrap();
    site.later(1_000);
    assert!(!path.exists());
}

#[test]
fn a_note_is_never_written_through_a_link() {
    let mut site = Site::new();
    let precious = site.dir.path().join("precious");
    fs::write(&precious, b"precious").unwrap();
    let note = site.path("bad.i3lic.rejected.txt");
    symlink(&precious, &note).unwrap();
    site.put("bad.i3lic", b"not a note\n");
    site.settle();
    assert_eq!(fs::read(&precious).unwrap(), b"precious");
    assert!(fs::symlink_metadata(&note).unwrap().is_file());
    assert!(site.note("bad.i3lic").is_some());
}

#[test]
fn what_others_wrote_under_a_notes_name_is_not_removed() {
    let mut site = Site::new();
    site.put("mine.i3lic.rejected.txt", b"my own words\n");
    symlink("/etc/hostname", site.path("theirs.i3lic.rejected.txt")).unwrap();
    site.put("good.i3lic", &site.file(1));
    site.settle();
    assert_eq!(site.note("mine.i3lic").as_deref(), Some("my own words\n"));
    assert!(fs::symlink_metadata(site.path("theirs.i3lic.rejected.txt")).unwrap().is_symlink());
}

#[test]
fn a_note_that_cannot_lie_beside_its_file_lies_in_the_state_directory() {
    let mut site = Site::new();
    site.put("bad.i3lic", b"not a note\n");
    // A folder under the note's name: nothing can be renamed over it, whoever asks.
    fs::create_dir(site.path("bad.i3lic.rejected.txt")).unwrap();
    site.settle();
    let instead = site.dir.path().join("state/rejected/bad.i3lic.rejected.txt");
    assert!(fs::read_to_string(&instead).unwrap().contains("no-blank-line"));
    fs::remove_dir(site.path("bad.i3lic.rejected.txt")).unwrap();
    site.later(61_000);
    assert!(site.note("bad.i3lic").is_some() && !instead.exists());
}
