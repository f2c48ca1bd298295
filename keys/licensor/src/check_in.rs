//! Answering check-ins (05, The exchange; VENDOR-9): who asks, whether its chain goes on from what it was told, how its license
//! stands, and what newer roots and files go with the answer. Whether a request comes over the network or by hand is no
//! matter here.
//!
//! A site that loses an answer asks again from the answer that it had. So the licensor keeps, for each installation of each
//! license, the **head**: the last answer that it is known to have, since it quoted it. All answers given on top of the head
//! stay good to be quoted; the one that is quoted becomes the head. What quotes anything else was restored from a copy or is a
//! clone. Two clones may both go on from one head once. As soon as one of them quotes what it was told, the other's answer is
//! no longer one on top of the head.

mod clear;
mod evidence;

use std::fmt;

use leasehold_keys::{
    activation::{Activation, HostRole, LicenseId},
    check_in::{CheckInAnswer, CheckInReply, CheckInRequest, CheckInStanding, FileBeside, LISTED_MAX, Message},
    digest::Sha256,
    host::{FactorState, HostFacts},
    installation::{InstallationId, InstallationPublicKey},
    refusal::Refusal,
    root::KeyRole,
    time::WallTime,
    trust::{Trust, Verified},
};

use crate::{
    calendar::whole_second,
    ledger::{AccountState, CheckInDesk, Given, Installed, IssuedFile, Ledger, LedgerFault, Misfit},
    workshop::{Signers, Workshop, WorkshopFault, file_name},
};

/// Answers on top of one head that are remembered: as many as a site can ask for that hears none of them, in the 14 days in
/// which an answer that is carried by hand may be taken.
const GIVEN_MAX: u32 = 4_096;
/// Installations of one license that are remembered, admitted or not.
const INSTALLATIONS_MAX: usize = 64;
/// Notes sent beside an answer come to no more than this, so that the reply stays within its bounds.
const BESIDE_MAX_BYTES: usize = 3 * 1024 * 1024;

/// Why a check-in is not answered. Nothing changes by it at either side; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CheckInFault {
    /// No request, or not signed by the installation that it names.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// It asks for a license that was never issued here.
    #[error(
        "license {0}, which the request is for, was not issued by this licensor; check the check-in endpoint of the site's activation file"
    )]
    UnknownLicense(LicenseId),
    /// It names an activation file that was never issued here.
    #[error(
        "the request names a file {sequence} of license {license} with the SHA-256 {file}, and no such file was issued here; load the file that the licensor sent"
    )]
    UnknownFile {
        /// The license.
        license: LicenseId,
        /// The sequence that it names.
        sequence: u32,
        /// The digest that it names.
        file: Sha256,
    },
    /// The license is on hold.
    #[error(
        "license {license} is on hold since {since}: {reason}. Settle it with the licensor; the site checks in by itself then"
    )]
    OnHold {
        /// The license.
        license: LicenseId,
        /// Since when.
        since: WallTime,
        /// Why, as the licensor's people put it.
        reason: String,
    },
    /// Others of the same installation came after it.
    #[error(
        "request {counter} of installation {installation} was made at {made}, and later ones of it were answered since; make a new request"
    )]
    Stale {
        /// Whose.
        installation: InstallationId,
        /// Its counter.
        counter: u64,
        /// When it was made.
        made: WallTime,
    },
    /// Too many installations ask for one license.
    #[error(
        "more than {INSTALLATIONS_MAX} installations have asked for license {0}; ask the licensor to clear them up"
    )]
    Crowd(LicenseId),
    /// The licensor's own trouble: nothing is wrong with the request.
    #[error("{0}")]
    Failed(#[from] WorkshopFault),
}

impl From<LedgerFault> for CheckInFault {
    fn from(fault: LedgerFault) -> Self {
        CheckInFault::Failed(fault.into())
    }
}

impl CheckInFault {
    /// A stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            CheckInFault::Refused(refusal) => refusal.reason(),
            CheckInFault::UnknownLicense(_) => "unknown-license",
            CheckInFault::UnknownFile { .. } => "unknown-file",
            CheckInFault::OnHold { .. } => "on-hold",
            CheckInFault::Stale { .. } => "stale-request",
            CheckInFault::Crowd(_) => "too-many-installations",
            CheckInFault::Failed(_) => "failed",
        }
    }
}

/// A check-in that was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What goes back.
    pub reply: CheckInReply,
    /// What the answer says.
    pub answer: CheckInAnswer,
    /// The request, as it was verified.
    pub request: Verified<CheckInRequest>,
    /// Why the installation counts as a duplicate, where it does.
    pub misfit: Option<Misfit>,
    /// False where this very request had been answered before, and so.
    pub new: bool,
}

/// Where check-ins are answered.
pub struct CheckIns {
    ledger: Ledger,
    signers: Signers,
}

impl fmt::Debug for CheckIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckIns").field("signers", &self.signers).finish_non_exhaustive()
    }
}

impl Workshop {
    /// Opens the desk that answers check-ins. It signs over days without being asked for the passphrase again.
    ///
    /// # Errors
    ///
    /// Where the check-in key cannot be used now.
    pub fn check_ins(&self, now: WallTime) -> Result<CheckIns, WorkshopFault> {
        Ok(CheckIns { ledger: self.open_ledger_again()?, signers: self.signers(KeyRole::CheckIn, now)? })
    }
}

impl CheckIns {
    /// Answers a request. What is answered is in the records first. The same request again gets the same answer, unless the
    /// license stands otherwise by now.
    ///
    /// # Errors
    ///
    /// Where it is not answered.
    pub fn answer(&mut self, request: &[u8], now: WallTime) -> Result<Answered, CheckInFault> {
        let request = CheckInRequest::verify(request)?;
        let now = whole_second(now);
        let Self { ledger, signers } = self;
        let desk = ledger.check_in_desk()?;
        let (license, installation) = (request.license_id, request.installation.id());
        let newest = desk.file(license, None)?.ok_or(CheckInFault::UnknownLicense(license))?;
        let named = desk.file(license, Some(request.sequence))?.filter(|file| file.sha256 == request.file);
        if named.is_none() {
            return Err(CheckInFault::UnknownFile { license, sequence: request.sequence, file: request.file });
        }
        let state = desk.account_state(license)?;
        if let AccountState::Hold(remarked) = &state {
            return Err(CheckInFault::OnHold { license, since: remarked.at, reason: remarked.reason.clone() });
        }
        let others = desk.installed(license)?;
        let known = others.iter().find(|row| row.installation.id() == installation).cloned();
        if known.is_none() && others.len() >= INSTALLATIONS_MAX {
            return Err(CheckInFault::Crowd(license));
        }
        let before = known.clone();
        let mut row = known.unwrap_or_else(|| newcomer(&request, now));
        let given = desk.given(license, installation)?;
        let same = given.iter().find(|given| given.request == request.sha256());
        let misfit = if same.is_none() { follow(&desk, &mut row, &given, &request)? } else { None };
        row.duplicate = row.duplicate.or(misfit.map(|misfit| (misfit, now)));
        admit(&desk, &mut row, &others, &newest, now)?;
        let standing = match &state {
            AccountState::Revoked { from, .. } => CheckInStanding::Revoked { from: *from },
            _ if row.duplicate.is_some() => CheckInStanding::Duplicate,
            _ => CheckInStanding::Good,
        };
        let (roots, files) = beside(signers.trust(), &request, &newest);
        let mut answer = request.answered(now, standing);
        answer.roots = roots.iter().map(|root| Sha256::of(root.as_bytes())).collect();
        answer.files = files.iter().map(|file| Sha256::of(file.note.as_bytes())).collect();
        answer.message = words(&desk, &row, &state, &newest, now)?;

        let as_before =
            same.and_then(|given| told(given).filter(|told| alike(told, &answer)).map(|told| (told, given)));
        let (answer, note, new) = match as_before {
            Some((told, given)) => (told, given.note.clone(), false),
            None => {
                let note = answer.sign(&signers.at(now)?)?;
                (answer, note, true)
            }
        };
        row.last = now;
        row.requests = row.requests.saturating_add(1);
        row.request = String::from_utf8_lossy(request.bytes()).into_owned();
        desk.put(&row)?;
        if new {
            let given = Given {
                sha256: Sha256::of(note.as_bytes()),
                request: request.sha256(),
                counter: request.counter,
                note: note.clone(),
            };
            desk.give(&row, &given, now, GIVEN_MAX)?;
        }
        evidence::remark(&desk, &row, before.as_ref(), &request, &newest, now)?;
        let misfit = row.duplicate.map(|(misfit, _)| misfit);
        desk.commit()?;
        Ok(Answered { reply: CheckInReply { answer: note, roots, files }, answer, request, misfit, new })
    }

    /// Asserts that a check-in could be answered at `now`, as far as the records and the check-in key are concerned.
    ///
    /// # Errors
    ///
    /// Where it could not.
    pub fn check(&self, now: WallTime) -> Result<(), CheckInFault> {
        self.ledger.roots()?;
        self.signers.at(now)?;
        Ok(())
    }
}

/// What is known of an installation that asks for the first time.
fn newcomer(request: &CheckInRequest, now: WallTime) -> Installed {
    Installed {
        license_id: request.license_id,
        installation: request.installation,
        admitted: false,
        vouched: false,
        judged: 0,
        host_role: None,
        head: None,
        head_counter: 0,
        newest: 0,
        newest_made: WallTime::from_ms(i64::MIN),
        adopt: false,
        duplicate: None,
        first: now,
        last: now,
        requests: 0,
        request: String::new(),
    }
}

/// Moves the head to what the request quotes, or says why it cannot have been told that last.
fn follow(
    desk: &CheckInDesk<'_>,
    row: &mut Installed,
    given: &[Given],
    request: &CheckInRequest,
) -> Result<Option<Misfit>, CheckInFault> {
    let (license, installation) = (row.license_id, row.installation.id());
    let quoted = request.previous_answer;
    if row.requests == 0 && quoted.is_some() {
        return Ok(Some(Misfit::Unknown));
    }
    // It was on its way for long, as a file is that somebody carries, or somebody repeats it. Whoever dates a new one back to
    // pass for that is not answered either.
    let is_stale = request.counter <= row.newest && request.created <= row.newest_made;
    let stale = || Err(CheckInFault::Stale { installation, counter: request.counter, made: request.created });
    if row.adopt {
        if is_stale && quoted != row.head && request.created < row.newest_made {
            return stale();
        }
        // An operator said that this one is the honest one: its chain begins anew from what it says.
        row.adopt = false;
        row.head = quoted;
        row.head_counter = request.counter.saturating_sub(1);
        (row.newest, row.newest_made) = (request.counter, request.created);
        desk.keep_answer(license, installation, quoted)?;
        return Ok(None);
    }
    let on_top = given.iter().find(|given| Some(given.sha256) == quoted && quoted != row.head);
    if let Some(quoted) = on_top {
        row.head = Some(quoted.sha256);
        row.head_counter = quoted.counter;
        desk.keep_answer(license, installation, row.head)?;
    } else if quoted != row.head {
        if is_stale {
            return stale();
        }
        return Ok(Some(if quoted.is_none() { Misfit::Lost } else { Misfit::Chain }));
    }
    if request.counter <= row.head_counter {
        return Ok(Some(Misfit::Counter));
    }
    row.newest = row.newest.max(request.counter);
    row.newest_made = row.newest_made.max(request.created);
    Ok(None)
}

/// Judges whether the license has room for this installation, once for each of the license's files.
fn admit(
    desk: &CheckInDesk<'_>,
    row: &mut Installed,
    others: &[Installed],
    newest: &IssuedFile,
    now: WallTime,
) -> Result<(), CheckInFault> {
    if row.judged == newest.sequence {
        return Ok(());
    }
    // A newcomer that cannot be what it says takes nobody's place.
    if !row.admitted && row.duplicate.is_some_and(|(misfit, _)| !misfit.is_about_room()) {
        return Ok(());
    }
    row.judged = newest.sequence;
    let hosts = Activation::read_unverified(newest.note.as_bytes())?.hosts;
    // Each look takes an Argon2id hash.
    let place = |key: &InstallationPublicKey| -> Option<HostRole> {
        let facts = HostFacts::default().with_installation(key);
        hosts.iter().find(|host| host.id.compare(&facts).installation == FactorState::Same).map(|host| host.role)
    };
    row.host_role = place(&row.installation);
    let beside = |other: &&Installed| other.installation != row.installation && other.admitted && !other.vouched;
    let mut admitted: Vec<Installed> = others.iter().filter(beside).cloned().collect();
    let room = hosts.len().max(1);
    if row.host_role.is_some() && !row.admitted && admitted.len() >= room {
        // The file is for this very machine, so one of those before it is no longer meant.
        for other in &mut admitted {
            other.host_role = place(&other.installation);
            other.judged = newest.sequence;
            if other.host_role.is_none() {
                other.admitted = false;
                other.duplicate.get_or_insert((Misfit::Moved, now));
            }
            desk.put(other)?;
        }
        admitted.retain(|other| other.admitted);
    }
    row.admitted = row.admitted || row.vouched || row.host_role.is_some() || admitted.len() < room;
    match row.duplicate {
        Some((misfit, _)) if misfit.is_about_room() && row.admitted => row.duplicate = None,
        None if !row.admitted => row.duplicate = Some((Misfit::Crowded, now)),
        _ => {}
    }
    Ok(())
}

/// The roots and the file that are newer than what the request names.
fn beside(trust: &Trust, request: &CheckInRequest, newest: &IssuedFile) -> (Vec<String>, Vec<FileBeside>) {
    let mut bytes = 0;
    let mut fits = |note: &String| {
        bytes += note.len();
        bytes <= BESIDE_MAX_BYTES
    };
    // What does not fit comes next time: the oldest first, since each root is vouched for by the one before. A root that was
    // published since this program began may not list the keys that it signs with.
    let newer = trust.chain().filter(|root| root.version > request.root_version).take(LISTED_MAX);
    let roots: Vec<String> =
        newer.map(|root| String::from_utf8_lossy(root.bytes()).into_owned()).take_while(&mut fits).collect();
    let newer = (newest.sequence > request.sequence)
        .then(|| FileBeside { name: file_name(newest.license_id, newest.sequence), note: newest.note.clone() });
    (roots, newer.into_iter().filter(|file| fits(&file.note)).collect())
}

/// What the administrator is to read.
fn words(
    desk: &CheckInDesk<'_>,
    row: &Installed,
    state: &AccountState,
    newest: &IssuedFile,
    now: WallTime,
) -> Result<Option<Message>, CheckInFault> {
    let told = match (state, row.duplicate) {
        (AccountState::Revoked { remarked, .. }, _) => Some(remarked.reason.clone()),
        (_, Some((misfit, since))) => Some(format!(
            "Installation {} counts as a duplicate since {since}: {misfit}. If this is the one server that is meant to run, ask the licensor to clear it",
            row.installation.id()
        )),
        _ => evidence::usage_overdue(desk, row, newest, now)?,
    };
    // Reasons were checked when they were given.
    Ok(told.and_then(|told| told.parse().ok()))
}

/// What an answer that was given says.
fn told(given: &Given) -> Option<CheckInAnswer> {
    let (text, _) = given.note.rsplit_once("\n\n")?;
    CheckInAnswer::parse(&format!("{text}\n")).ok()
}

/// True where two answers to one request say the same.
fn alike(one: &CheckInAnswer, other: &CheckInAnswer) -> bool {
    (one.standing, &one.roots, &one.files, &one.message) == (other.standing, &other.roots, &other.files, &other.message)
}
