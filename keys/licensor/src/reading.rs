//! Usage files as they lie in folders: found, held against each other, opened and billed. They are read one at a time, so
//! that months of large sites need no more memory than one file and its counts.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use jiff::tz::TimeZone;
use leasehold_keys::{
    activation::LicenseId,
    digest::Sha256,
    installation::InstallationId,
    time::{DAY_MS, WallTime},
    usage::{
        self, Damage, End, FILE_MAX_BYTES, Names, OpenedRecord, Report, SegmentFile, Sequence, UsagePrivateKey,
        bundle::{self, Bundled},
    },
};

use crate::{
    billing::{Bill, Billing, Opening, Period},
    workshop::{Workshop, WorkshopFault},
};

/// Folders within folders that are looked into.
const DEPTH_MAX: u32 = 8;
/// How long after a period a file may begin that still tells of it: the logoff of a lease that expired comes late.
const AFTERMATH_MS: i64 = DAY_MS;

/// A usage file whose header is verified.
#[derive(Clone, Debug)]
pub struct FoundFile {
    /// Where it lies.
    pub source: Source,
    /// The license that it reports on.
    pub license_id: LicenseId,
    /// Who wrote it.
    pub installation: InstallationId,
    /// Its number.
    pub segment: u32,
    /// Of its bytes.
    pub sha256: Sha256,
    start: WallTime,
    closed: Option<WallTime>,
    names: Names,
    previous_end: Sha256,
    end_chain: Sha256,
    damaged: bool,
}

/// A file of which nothing can be told, or not all.
#[derive(Clone, Debug)]
pub struct Unread {
    /// Where it lies.
    pub path: PathBuf,
    /// Why, and what to do.
    pub why: String,
}

/// Files that were looked through without any private key.
#[derive(Debug, Default)]
pub struct Gathering {
    /// Those with a header that holds, one for each segment, by installation and number.
    pub files: Vec<FoundFile>,
    /// What is wrong with them and between them.
    pub report: Report,
}

/// A bill, and what could not be read for it.
#[derive(Debug)]
pub struct Billed {
    /// The bill.
    pub bill: Bill,
    /// Files, or the ends of files, that it does without.
    pub unread: Vec<Unread>,
}

/// Where a usage file is: on disk, or in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    path: PathBuf,
    bundled: Option<Bundled>,
}

impl Source {
    /// A file on disk.
    pub fn file(path: PathBuf) -> Self {
        Self { path, bundled: None }
    }

    /// Its path; of one in a bundle, as if the bundle were a folder.
    pub fn shown(&self) -> PathBuf {
        match &self.bundled {
            None => self.path.clone(),
            Some(bundled) => self.path.join(&bundled.name),
        }
    }

    /// Its name without folders.
    pub fn name(&self) -> Cow<'_, str> {
        match &self.bundled {
            None => self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy(),
            Some(bundled) => Cow::Borrowed(&bundled.name),
        }
    }

    /// Where what belongs to it is laid: beside it, or beside its bundle.
    pub fn beside(&self, ending: &str) -> PathBuf {
        let mut beside = match &self.bundled {
            None => self.path.clone(),
            Some(bundled) => self.path.with_file_name(&bundled.name),
        };
        beside.as_mut_os_string().push(ending);
        beside
    }
}

/// The usage files that `paths` mean: files as they are, those in bundles (`*.tar`), and all `*.usg` below folders, in the
/// order of their names. Bundles are looked into where they are named: one beside its own files would be a copy of them.
///
/// # Errors
///
/// [`WorkshopFault::Io`] where something is not there or cannot be read.
pub fn find(paths: &[PathBuf]) -> Result<Vec<Source>, WorkshopFault> {
    let mut found = BTreeSet::new();
    for path in paths {
        let io = |fault| WorkshopFault::Io { path: path.clone(), fault };
        let facts = fs::metadata(path).map_err(io)?;
        if facts.is_dir() {
            look_into(path, DEPTH_MAX, &mut found)?;
        } else if facts.is_file() && path.extension() == Some(OsStr::new(bundle::EXTENSION)) {
            let bundled = File::open(path).and_then(|mut file| bundle::files(&mut file)).map_err(io)?;
            found.extend(bundled.into_iter().map(|bundled| Source { path: path.clone(), bundled: Some(bundled) }));
        } else {
            found.insert(Source::file(path.clone()));
        }
    }
    Ok(found.into_iter().collect())
}

fn look_into(folder: &Path, depth: u32, found: &mut BTreeSet<Source>) -> Result<(), WorkshopFault> {
    let io = |fault| WorkshopFault::Io { path: folder.to_owned(), fault };
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let (kind, path) = (entry.file_type().map_err(io)?, entry.path());
        if kind.is_dir() && depth > 0 {
            look_into(&path, depth - 1, found)?;
        } else if kind.is_file() && path.extension() == Some(OsStr::new("usg")) {
            found.insert(Source::file(path));
        }
    }
    Ok(())
}

/// The bytes of a usage file.
///
/// # Errors
///
/// [`WorkshopFault::Io`]; a pipe is not waited for.
pub fn read(source: &Source) -> Result<Vec<u8>, WorkshopFault> {
    let path = &source.path;
    let io = |fault| WorkshopFault::Io { path: path.clone(), fault };
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Err(io(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")));
    }
    let mut file = File::open(path).map_err(io)?;
    if let Some(bundled) = &source.bundled {
        return bundled.read(&mut file).map_err(io);
    }
    let mut bytes = Vec::new();
    // One byte more shows that it is too large, which the verifier says.
    let most = u64::try_from(FILE_MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// Looks through files without any private key. `whole`: each installation's files are all to be there, from the first.
/// With the licensor's records, files that were answered for may be gone, and must not be others.
///
/// # Errors
///
/// Where a file or the records cannot be read.
pub fn gather(sources: &[Source], whole: bool, workshop: Option<&Workshop>) -> Result<Gathering, WorkshopFault> {
    let mut files = Vec::new();
    for source in sources {
        let bytes = read(source)?;
        if let Ok(file) = usage::salvage(&bytes) {
            files.push(facts(source, &bytes, &file));
        }
    }
    let mut sequence = if whole { Sequence::new() } else { Sequence::new().excerpt() };
    let mut acknowledged = BTreeMap::new();
    let installations: BTreeSet<InstallationId> = files.iter().map(|file| file.installation).collect();
    for installation in installations {
        let known = workshop.map(|workshop| workshop.ledger().usage_acknowledged(installation)).transpose()?;
        for file in known.into_iter().flatten() {
            acknowledged.insert((file.installation, file.segment), file.sha256);
            sequence = sequence.acknowledged(file);
        }
    }
    for source in sources {
        sequence.add(&source.name(), &read(source)?);
    }
    // Of several that claim one segment: the one that was answered for, else one that is whole.
    files.sort_by_key(|file| {
        let known = acknowledged.get(&(file.installation, file.segment)) == Some(&file.sha256);
        (file.installation, file.segment, !known, file.damaged, file.source.clone())
    });
    files.dedup_by_key(|file| (file.installation, file.segment));
    Ok(Gathering { files, report: sequence.finish() })
}

fn facts(source: &Source, bytes: &[u8], file: &SegmentFile<'_>) -> FoundFile {
    let header = file.header();
    FoundFile {
        source: source.clone(),
        license_id: header.license,
        installation: header.installation.id(),
        segment: header.segment,
        sha256: Sha256::of(bytes),
        start: header.start.trusted,
        closed: match file.end() {
            End::Closed(clocks) => Some(clocks.trusted),
            End::Open | End::Torn(_) => None,
        },
        names: header.names,
        previous_end: header.previous_end,
        end_chain: file.head().chain,
        damaged: file.damage().is_some(),
    }
}

/// Bills each license of the files, in the order of their IDs, by what the licensor's records say of its keys.
///
/// # Errors
///
/// Where a file or the records cannot be read.
pub fn bill(
    gathering: &Gathering,
    workshop: &Workshop,
    keys: &[UsagePrivateKey],
    period: Period,
    zone: &TimeZone,
    now: WallTime,
) -> Result<Vec<Billed>, WorkshopFault> {
    let bounds = period.bounds(zone);
    let mut licenses: BTreeMap<uuid::Uuid, Vec<&FoundFile>> = BTreeMap::new();
    for file in &gathering.files {
        let files = licenses.entry(file.license_id.0).or_default();
        let ended = file.closed.is_some_and(|closed| closed <= bounds.from) && !file.damaged;
        if !ended && file.start < bounds.until.plus_ms(AFTERMATH_MS) {
            files.push(file);
        }
    }
    let mut bills = Vec::new();
    for (license, files) in licenses {
        let license = LicenseId(license);
        let mut billing = Billing::new(license, period, zone, workshop.tariff(license)?);
        let mut unread = Vec::new();
        let mut before: Option<&FoundFile> = None;
        for found in files {
            let continues = before.is_some_and(|before| {
                before.installation == found.installation
                    && before.segment.checked_add(1) == Some(found.segment)
                    && before.end_chain == found.previous_end
            });
            before = Some(found);
            let bytes = read(&found.source)?;
            if let Err(why) = bill_file(&mut billing, found, continues, &bytes, keys) {
                unread.push(Unread { path: found.source.shown(), why });
            }
        }
        bills.push(Billed { bill: billing.finish(now), unread });
    }
    Ok(bills)
}

/// Bills one file as far as it can be read, and says why that is not to its end.
fn bill_file(
    billing: &mut Billing,
    found: &FoundFile,
    continues: bool,
    bytes: &[u8],
    keys: &[UsagePrivateKey],
) -> Result<(), String> {
    let &FoundFile { installation, segment, start, names, closed, .. } = found;
    let mut open = billing.open(Opening { installation, segment, continues, start, names });
    // Between two looks at it somebody may have written over it.
    let file = match usage::salvage(bytes) {
        Ok(file) if Sha256::of(bytes) == found.sha256 => file,
        _ => {
            open.close(None, true);
            return Err("it was changed while it was read; run this again".to_owned());
        }
    };
    let mut damage = file.damage().map(ToString::to_string);
    match records(&file, keys) {
        Ok(records) => {
            for record in records {
                match record {
                    Ok(record) => open.take(&record.items),
                    Err(found) => damage = Some(found.to_string()),
                }
            }
        }
        Err(found) => damage = Some(found),
    }
    open.close(closed, damage.is_some());
    damage.map_or(Ok(()), Err)
}

/// The records of a file, opened by whichever of `keys` it is sealed to.
///
/// # Errors
///
/// Why none is, and what to do.
pub fn records<'a, 'f>(
    file: &'f SegmentFile<'a>,
    keys: &[UsagePrivateKey],
) -> Result<impl Iterator<Item = Result<OpenedRecord, Damage>> + use<'a, 'f>, String> {
    let recipients: Vec<_> = file.header().recipients.iter().map(|recipient| recipient.key).collect();
    let Some(key) = keys.iter().find(|key| recipients.contains(&key.public().id())) else {
        let recipients: Vec<_> = recipients.iter().map(ToString::to_string).collect();
        return Err(format!(
            "The file is sealed to the usage keys {}, and none of them is in this licensor's folder. Put the key back from \
             your backup; where it never was here, the file is meant for another licensor.",
            recipients.join(", ")
        ));
    };
    file.open(key).map_err(|damage| damage.to_string())
}
