//! The highest statement of each installation that was ever seen, kept over restarts of the application where it names a file
//! (03, Witness). What they mean is the servers' affair: each signs its own, and here they are only compared.
//!
//! They need not be the very last: one that is a second old still shows a server that was put back by more than that.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use leasehold_proto::v1;

/// Installations that are kept; an application server meets one or two.
const MOST: usize = 64;
/// The first line of the file.
const HEADING: &str = "leasehold-witnesses 1";

/// The highest statements, by installation.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Witnesses {
    highest: BTreeMap<String, v1::Witness>,
}

impl Witnesses {
    /// Takes a statement; false where it is not higher than what is kept.
    pub(crate) fn take(&mut self, said: v1::Witness) -> bool {
        let order = |witness: &v1::Witness| (witness.epoch, witness.lease_id);
        let is_new = match self.highest.get(&said.installation_id) {
            // Of two that are equally high the later is kept: where two servers call an epoch by one number, each is shown
            // what the other said.
            Some(held) => order(held) <= order(&said) && *held != said,
            None => self.highest.len() < MOST && is_plain(&said),
        };
        if is_new {
            self.highest.insert(said.installation_id.clone(), said);
        }
        is_new
    }

    /// All of them, as a server is shown them.
    pub(crate) fn shown(&self) -> Vec<v1::Witness> {
        self.highest.values().cloned().collect()
    }

    fn text(&self) -> String {
        let mut text = format!("{HEADING}\n");
        for v1::Witness { installation_id, epoch, epoch_id, lease_id, signature } in self.highest.values() {
            // Writing to a text never fails.
            let _ = write!(text, "{installation_id} {epoch} {epoch_id:016x} {lease_id} ");
            for byte in signature {
                let _ = write!(text, "{byte:02x}");
            }
            text.push('\n');
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != HEADING {
            return None;
        }
        let mut kept = Self::default();
        for line in lines {
            let mut words = line.split(' ');
            let mut word = || words.next();
            let said = v1::Witness {
                installation_id: word()?.to_owned(),
                epoch: word()?.parse().ok()?,
                epoch_id: u64::from_str_radix(word()?, 16).ok()?,
                lease_id: word()?.parse().ok()?,
                signature: unhex(word()?)?,
            };
            if words.next().is_some() || !is_plain(&said) {
                return None;
            }
            kept.take(said);
        }
        Some(kept)
    }
}

/// True for what fits into a line.
fn is_plain(said: &v1::Witness) -> bool {
    let id = &said.installation_id;
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) && said.signature.len() <= 256
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

/// The file in which they are kept: a heading, and a line for each installation.
#[derive(Debug, Clone)]
pub(crate) struct WitnessFile {
    path: PathBuf,
}

impl WitnessFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is kept; nothing where there is no file yet.
    pub(crate) fn load(&self) -> io::Result<Witnesses> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Witnesses::parse(&text)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not a file of witness statements")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Witnesses::default()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file in one step: a reader never sees half of it.
    pub(crate) fn store(&self, kept: &Witnesses) -> io::Result<()> {
        let mut next = self.path.clone().into_os_string();
        next.push(".new");
        fs::write(&next, kept.text())?;
        fs::rename(&next, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(installation: &str, epoch: u64, lease_id: u64, signature: u8) -> v1::Witness {
        let installation_id = installation.to_owned();
        v1::Witness { installation_id, epoch, epoch_id: u64::MAX - 7, lease_id, signature: vec![signature; 64] }
    }

    #[test]
    fn the_highest_of_each_installation_is_kept() {
        let mut kept = Witnesses::default();
        let steps = [
            (said("a", 2, 10, 1), true),
            (said("a", 2, 9, 2), false),
            (said("a", 1, 900, 3), false),
            (said("a", 2, 10, 1), false),
            (said("b", 1, 1, 4), true),
            (said("a", 2, 10, 5), true),
            (said("a", 3, 0, 6), true),
            (said("", 1, 1, 7), false),
            (said("a b", 1, 1, 8), false),
        ];
        for (said, is_new) in steps {
            assert_eq!(kept.take(said.clone()), is_new, "{said:?}");
        }
        assert_eq!(kept.shown(), [said("a", 3, 0, 6), said("b", 1, 1, 4)]);
        for number in 0..100 {
            kept.take(said(&format!("c{number}"), 1, 1, 1));
        }
        assert_eq!(kept.shown().len(), MOST);
    }

    #[test]
    fn a_file_keeps_them_and_is_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = WitnessFile::new(folder.path().join("witnesses"));
        assert_eq!(file.load().expect("no file is nothing"), Witnesses::default());
        let mut kept = Witnesses::default();
        kept.take(said("a", 2, u64::MAX, 255));
        kept.take(said("b", 1, 0, 0));
        file.store(&kept).expect("stored");
        kept.take(said("a", 3, 5, 16));
        file.store(&kept).expect("stored again");
        assert_eq!(file.load().expect("loaded"), kept);
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1);
        let text = fs::read_to_string(file.path()).expect("text");
        let bad =
            ["41\n".to_owned(), text.replacen('1', "2", 1), format!("{text}a 1\n"), text.replacen(" 3 ", " x ", 1)];
        for bad in bad {
            fs::write(file.path(), &bad).expect("written");
            assert!(file.load().expect_err(&bad).to_string().contains("witness"), "{bad}");
        }
    }
}
