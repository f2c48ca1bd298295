//! What comes beside an answer: newer roots and activation files that the answer names by their digests. They are put into
//! the watched folder as a person would drop them, and are judged there as theirs are. Nothing that lies there is touched.

use std::{ffi::OsStr, path::Path};

use leasehold_keys::{
    check_in::{CheckInAnswer, CheckInReply},
    digest::Sha256,
    note::NOTE_MAX_BYTES,
    root::Root,
};

use crate::files::Room;

/// Names that are tried for one file.
const NAMES_MAX: u32 = 100;

/// What was put into the folder, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Newer roots.
    pub roots: Vec<String>,
    /// Newer activation files.
    pub files: Vec<String>,
    /// Why something was not, for people.
    pub left_out: Vec<String>,
}

/// Puts what the answer names into the folder. Reads and writes files: not for the threads of others.
pub(super) fn place(folder: &Path, reply: &CheckInReply, answer: &CheckInAnswer) -> Taken {
    let mut taken = Taken::default();
    if reply.roots.is_empty() && reply.files.is_empty() {
        return taken;
    }
    let room = match Room::open(folder) {
        Ok(room) => room,
        Err(fault) => {
            taken.left_out.push(format!(
                "what came with the answer cannot be put into {}: {fault}; it comes again with the next one",
                folder.display()
            ));
            return taken;
        }
    };
    for root in &reply.roots {
        if !answer.roots.contains(&Sha256::of(root.as_bytes())) {
            taken.left_out.push("a root came beside the answer, which does not name it".to_owned());
            continue;
        }
        let version = root.rsplit_once("\n\n").and_then(|(text, _)| Root::parse(&format!("{text}\n")).ok());
        let stem = version.map_or_else(|| "root".to_owned(), |root| format!("root-{}", root.version));
        match put(&room, &stem, "i3root", root.as_bytes()) {
            Ok(Some(name)) => taken.roots.push(name),
            Ok(None) => {}
            Err(why) => taken.left_out.push(why),
        }
    }
    for file in reply.files_of(answer) {
        let file = match file {
            Ok(file) => file,
            Err(refusal) => {
                taken.left_out.push(refusal.what().to_owned());
                continue;
            }
        };
        let lower = file.name.to_ascii_lowercase();
        let stem = lower.strip_suffix(".i3lic").and_then(|stem| file.name.get(..stem.len()));
        match put(&room, stem.filter(|stem| !stem.is_empty()).unwrap_or(&file.name), "i3lic", file.note.as_bytes()) {
            Ok(Some(name)) => taken.files.push(name),
            Ok(None) => {}
            Err(why) => taken.left_out.push(why),
        }
    }
    taken
}

/// Puts a file under the first free of `STEM.ENDING`, `STEM-2.ENDING`, …; `None` where the very same lies there already.
fn put(room: &Room, stem: &str, ending: &str, bytes: &[u8]) -> Result<Option<String>, String> {
    for number in 1..=NAMES_MAX {
        let name = if number == 1 { format!("{stem}.{ending}") } else { format!("{stem}-{number}.{ending}") };
        if room.read(OsStr::new(&name), NOTE_MAX_BYTES as u64).is_ok_and(|(there, _)| there == bytes) {
            return Ok(None);
        }
        match room.add(OsStr::new(&name), bytes, 0o644) {
            Ok(true) => return Ok(Some(name)),
            Ok(false) => {}
            Err(fault) => {
                return Err(format!(
                    "{name}, which came with the answer, cannot be put into the watched folder: {fault}"
                ));
            }
        }
    }
    Err(format!("{stem}.{ending}, which came with the answer, finds no free name in the watched folder"))
}

#[cfg(test)]
mod tests {
    use leasehold_keys::{
        activation::LicenseId,
        check_in::{CheckInStanding, FileBeside, Nonce},
        time::WallTime,
    };

    use super::*;

    fn answer(files: &[&str]) -> CheckInAnswer {
        CheckInAnswer {
            request: Sha256([1; 32]),
            nonce: Nonce([2; 32]),
            license_id: LicenseId(uuid::Uuid::from_u128(3)),
            installation: "00112233445566778899aabbccddeeff".parse().unwrap(),
            counter: 1,
            time: WallTime::from_ms(0),
            standing: CheckInStanding::Good,
            roots: Vec::new(),
            files: files.iter().map(|note| Sha256::of(note.as_bytes())).collect(),
            message: None,
        }
    }

    fn reply(files: &[(&str, &str)]) -> CheckInReply {
        let file = |(name, note): &(&str, &str)| FileBeside { name: (*name).to_owned(), note: (*note).to_owned() };
        CheckInReply { answer: String::new(), roots: Vec::new(), files: files.iter().map(file).collect() }
    }

    #[test]
    fn a_file_gets_a_free_name_and_nothing_that_lies_there_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("acme.i3lic"), "the administrator's").unwrap();
        std::os::unix::fs::symlink("/nowhere", path("acme-2.i3lic")).unwrap();
        let taken = place(folder.path(), &reply(&[("acme.i3lic", "new")]), &answer(&["new"]));
        assert_eq!(taken, Taken { files: vec!["acme-3.i3lic".into()], ..Taken::default() });
        assert_eq!(std::fs::read_to_string(path("acme.i3lic")).unwrap(), "the administrator's");
        assert_eq!(std::fs::read_to_string(path("acme-3.i3lic")).unwrap(), "new");
        // The same once more: it is there.
        assert_eq!(place(folder.path(), &reply(&[("acme.i3lic", "new")]), &answer(&["new"])), Taken::default());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "and no temporary file stays");
    }

    #[test]
    fn what_the_signed_answer_does_not_name_stays_outside() {
        let folder = tempfile::tempdir().unwrap();
        let beside = reply(&[("a.i3lic", "named"), ("b.i3lic", "smuggled"), ("tool.sh", "script")]);
        let taken =
            place(folder.path(), &CheckInReply { roots: vec!["x".into()], ..beside }, &answer(&["named", "script"]));
        assert_eq!((taken.files, taken.left_out.len()), (vec!["a.i3lic".to_owned(), "tool.sh.i3lic".into()], 2));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        let gone = place(&folder.path().join("gone"), &reply(&[("a.i3lic", "named")]), &answer(&["named"]));
        assert!(gone.files.is_empty() && gone.left_out[0].contains("comes again"), "{gone:?}");
    }
}
