//! Names in the watched folder: which are looked at, which may be placed, and where a refusal's note goes.

use std::ffi::{OsStr, OsString};

/// What a note of refusal's name ends in.
pub(super) const NOTE_SUFFIX: &str = ".rejected.txt";

/// The most bytes of a file's name on the usual filesystems.
const NAME_MAX_BYTES: usize = 255;

/// What a file in the folder is taken for, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sort {
    /// `*.i3root`: a newer root. Before files, since those may need it.
    Root,
    /// `*.i3lic`: an activation file.
    Activation,
}

/// What a name is taken for; `None` for names that nobody looks at, editors' temporary files among them.
pub(super) fn sort_of(name: &OsStr) -> Option<Sort> {
    let bytes = name.as_encoded_bytes();
    if bytes.starts_with(b".") {
        return None;
    }
    let ends =
        |suffix: &[u8]| bytes.len() > suffix.len() && bytes[bytes.len() - suffix.len()..].eq_ignore_ascii_case(suffix);
    if ends(b".i3lic") {
        Some(Sort::Activation)
    } else if ends(b".i3root") {
        Some(Sort::Root)
    } else {
        // `x.i3lic~`, `x.i3lic.swp`, `x.i3lic.tmp`, `x.i3lic.part` end otherwise, and so are not looked at.
        None
    }
}

/// What the names of editors' and copying programs' temporary files end in, in lower case.
const TEMPORARY: [&str; 8] = ["~", ".swp", ".swx", ".swo", ".tmp", ".part", ".partial", ".crdownload"];

/// True for a name that is not looked at though somebody may think that it is: no hidden name, no temporary file, no note.
pub(super) fn is_ignored(name: &OsStr) -> bool {
    let text = name.to_string_lossy().to_lowercase();
    let temporary = text.starts_with(['.', '#']) || TEMPORARY.iter().any(|end| text.ends_with(end));
    sort_of(name).is_none() && !temporary && !text.ends_with(NOTE_SUFFIX)
}

/// A name as it may stand in a log or a list: no control character, nothing that is not text.
pub(super) fn shown(name: &OsStr) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let show = |c: char| {
        if hidden(c) { c.escape_unicode().to_string() } else { c.to_string() }
    };
    name.to_string_lossy().chars().map(show).collect()
}

/// Why a name is one that no file here may have, if it is: it could not be shown as it is, or not have a note.
pub(super) fn fault_of(name: &OsStr) -> Option<String> {
    let Some(text) = name.to_str() else {
        return Some("The file's name is not UTF-8 text".to_owned());
    };
    if shown(name) != text {
        return Some("The file's name holds control characters or marks that hide what it says".to_owned());
    }
    let most = NAME_MAX_BYTES - NOTE_SUFFIX.len();
    (text.len() > most).then(|| format!("The file's name has {} bytes; at most {most} are allowed", text.len()))
}

/// The name of the note beside a refused file. A name that leaves no room for it is told by its digest.
pub(super) fn note_of(name: &OsStr) -> OsString {
    if fault_of(name).is_none() {
        let mut note = name.to_owned();
        note.push(NOTE_SUFFIX);
        return note;
    }
    let digest = leasehold_keys::digest::Sha256::of(name.as_encoded_bytes()).to_string();
    let sort = if sort_of(name) == Some(Sort::Root) { "i3root" } else { "i3lic" };
    format!("name-{}.{sort}{NOTE_SUFFIX}", &digest[..16]).into()
}

/// True for a name that a note of refusal could have.
pub(super) fn is_note(name: &OsStr) -> bool {
    name.to_str()
        .and_then(|name| name.strip_suffix(NOTE_SUFFIX))
        .is_some_and(|base| sort_of(OsStr::new(base)).is_some())
}

/// Why a file may not be placed in the folder under this name, if it may not: for people.
pub(super) fn fault_of_placed(name: &str) -> Option<String> {
    if name.contains('/') || name.contains('\\') {
        return Some("It names a path; give a file name alone".to_owned());
    }
    if name.starts_with('.') {
        return Some("It begins with a dot, and such files are not looked at".to_owned());
    }
    match sort_of(OsStr::new(name)) {
        Some(_) => fault_of(OsStr::new(name)),
        None => Some(
            "It ends neither in .i3lic, as activation files do, nor in .i3root, as roots do, and other files are not looked at"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_by_their_ends_in_any_letter_case() {
        let cases = [
            ("acme.i3lic", Some(Sort::Activation)),
            ("ACME.I3Lic", Some(Sort::Activation)),
            ("acme.I3ROOT", Some(Sort::Root)),
            ("acme.i3lic.rejected.txt", None),
            (".acme.i3lic", None),
            (".acme.i3lic.swp", None),
            ("acme.i3lic~", None),
            ("acme.i3lic.part", None),
            ("acme.i3lic.tmp", None),
            (".i3lic", None),
            ("i3lic", None),
            ("", None),
        ];
        for (name, sort) in cases {
            assert_eq!(sort_of(OsStr::new(name)), sort, "{name}");
        }
    }

    #[test]
    fn only_what_somebody_may_wait_for_is_told_as_ignored() {
        for name in ["root.note", "acme.lic", "readme.txt", "acme.i3lic.bak"] {
            assert!(is_ignored(OsStr::new(name)), "{name}");
        }
        for name in
            ["a.i3lic", "a.i3root", ".a.note", "a.i3lic~", "a.i3lic.SWP", "#a#", "a.part", "a.i3lic.rejected.txt"]
        {
            assert!(!is_ignored(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_note_always_has_a_name() {
        assert_eq!(note_of(OsStr::new("a.i3lic")), "a.i3lic.rejected.txt");
        let long = format!("{}.i3lic", "x".repeat(245));
        for name in [long.as_str(), "two\nlines.i3lic", "mirror\u{202e}.i3root"] {
            let note = note_of(OsStr::new(name));
            assert!(note.len() <= 255 && is_note(&note), "{note:?}");
        }
    }

    #[test]
    fn only_plain_names_are_placed() {
        assert_eq!(fault_of_placed("acme.i3lic"), None);
        for bad in ["../acme.i3lic", "a/b.i3lic", ".a.i3lic", "acme.txt", "a\nb.i3lic", "", "..", "acme.i3lic~"] {
            assert!(fault_of_placed(bad).is_some(), "{bad:?}");
        }
    }
}
