//! Why something that came from outside was refused: a stable code for programs, a sentence for the administrator.

use std::fmt;

/// Declares reasons, each with its code and what an administrator can do.
macro_rules! reasons {
    ($(#[$of:meta])* $reasons:ident: $($(#[$doc:meta])* $name:ident = $code:literal, $remedy:expr;)*) => {
        $(#[$of])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $reasons {
            $(
                #[doc = concat!("`", $code, "`")]
                $(#[$doc])*
                $name,
            )*
        }

        impl $reasons {
            /// Every reason, for tables and documentation.
            pub const ALL: &'static [$reasons] = &[$($reasons::$name),*];

            /// The stable code, in kebab-case.
            pub const fn code(self) -> &'static str {
                match self { $($reasons::$name => $code,)* }
            }

            /// What to do about it.
            pub const fn remedy(self) -> &'static str {
                match self { $($reasons::$name => $remedy,)* }
            }
        }
    };
}

pub(crate) use reasons;

const COPY_AGAIN: &str =
    "Copy the file again, byte for byte, as the licensor sent it; do not open it in an editor that saves it.";
const ASK: &str = "Ask the licensor for a corrected file.";
const CHECK_IN_AGAIN: &str = "Check in again, and take the answer to that very request. If it happens again, something between this server and the licensor stores or changes answers.";
const NEWER_ROOT: &str = "If the licensor has published a newer root, drop it into the same folder first; otherwise ask the licensor for a new file.";

reasons! {
    /// What was wrong. Codes are stable: they stand in logs, in test vectors and in scripts.
    Reason:
    /// A link, a FIFO, a folder or a device where a file was expected.
    NotARegularFile = "not-a-regular-file", "Put the file itself there, not a link, folder or pipe.";
    /// The operating system would not let it be read.
    Unreadable = "unreadable", "Check the file's owner and mode, and that its disk is well.";
    /// More than 128 KiB.
    TooLarge = "too-large", "This is no signed file of Leasehold; check what was copied here.";
    /// More than 4,096 lines.
    TooManyLines = "too-many-lines", ASK;
    /// A text line of more than 1,024 bytes, or a signature line of more than 6,144.
    LineTooLong = "line-too-long", ASK;
    /// No byte at all.
    Empty = "empty", COPY_AGAIN;
    /// Bytes that are no UTF-8 text.
    NotUtf8 = "not-utf8", COPY_AGAIN;
    /// A byte order mark, as some editors add.
    ByteOrderMark = "byte-order-mark", COPY_AGAIN;
    /// CR: line ends were converted.
    CarriageReturn = "carriage-return", "The line ends were converted on the way. Copy the file again in binary mode.";
    /// A control character other than LF.
    ControlCharacter = "control-character", COPY_AGAIN;
    /// No blank line between text and signatures.
    NoBlankLine = "no-blank-line", COPY_AGAIN;
    /// No signature after the text.
    NoSignature = "no-signature", COPY_AGAIN;
    /// More than 16 signatures.
    TooManySignatures = "too-many-signatures", ASK;
    /// Two signature lines of one key.
    DuplicateSignature = "duplicate-signature", COPY_AGAIN;
    /// A line after the blank line that is no signature line.
    MalformedSignatureLine = "malformed-signature-line", COPY_AGAIN;
    /// Base64 that is not canonical standard base64 with padding.
    BadBase64 = "bad-base64", COPY_AGAIN;
    /// The signature does not have the length of its algorithm.
    WrongSignatureLength = "wrong-signature-length", COPY_AGAIN;
    /// A note of another kind.
    WrongKind = "wrong-kind", "Use the file for what its first line says; for one of a later format, update Leasehold first.";
    /// A known key's signature does not fit the text.
    BadSignature = "bad-signature", COPY_AGAIN;
    /// No signature is of a key that the root lists.
    UnknownKey = "unknown-key", NEWER_ROOT;
    /// A name that the root lists, with a key ID that it does not.
    WrongKeyId = "wrong-key-id", NEWER_ROOT;
    /// Signed by a key of another role.
    WrongRole = "wrong-role", ASK;
    /// Signed by a key that the root revokes.
    KeyRevoked = "key-revoked", "Ask the licensor for a file signed by a key that stands.";
    /// Signed by a key whose window has ended.
    KeyExpired = "key-expired", "Ask the licensor for a file signed by a current key. If the clock of this server is wrong, set it right.";
    /// Signed by a key whose window has not begun.
    KeyNotYetValid = "key-not-yet-valid", "Check the clock of this server; otherwise ask the licensor.";
    /// Fewer Ed25519 signatures of distinct keys than the root asks for.
    BelowThreshold = "below-threshold", ASK;
    /// Fewer ML-DSA-65 signatures than the root asks for.
    MlDsaRequired = "ml-dsa-required", COPY_AGAIN;
    /// An Ed25519 public key of small order: anyone could sign for it.
    SmallOrderKey = "small-order-key", "Do not use this root. Tell the licensor.";
    /// A key that cannot be read.
    BadKey = "bad-key", ASK;
    /// One key listed twice, under one name or two.
    KeyListedTwice = "key-listed-twice", ASK;
    /// A threshold that can never be met, or of none.
    BadThreshold = "bad-threshold", ASK;
    /// The root has expired: it takes no new files.
    RootExpired = "root-expired", "Drop the licensor's newer root into the same folder. What runs already goes on.";
    /// A root that skips a version.
    RootSkipsVersion = "root-skips-version", "Drop the roots in between into the same folder; each is signed by the one before.";
    /// Another root of a version that is held already.
    RootVersionReused = "root-version-reused", "Do not use this root. Tell the licensor: two roots of one version exist.";
    /// A root older than the one that was built in.
    RootSuperseded = "root-superseded", "Nothing needs to be done; a newer root is in force.";
    /// A root that the keys of the root before it did not sign.
    OldThreshold = "old-threshold", "Do not use this root unless the licensor confirms it; ask for one signed by the old and the new root keys.";
    /// A root that its own keys did not sign.
    NewThreshold = "new-threshold", "Ask the licensor for a root signed by the old and the new root keys.";
    /// A file that needs a newer root.
    RootVersionAhead = "root-version-ahead", "Drop that root into the same folder; the licensor publishes it.";
    /// Not readable as TOML.
    MalformedToml = "malformed-toml", ASK;
    /// A field that this kind of note does not have.
    UnknownField = "unknown-field", "The file may be for a newer version of Leasehold: update, or ask the licensor for a file for this one.";
    /// A field that must be there.
    MissingField = "missing-field", ASK;
    /// A field given twice.
    DuplicateField = "duplicate-field", ASK;
    /// A field of another type.
    WrongType = "wrong-type", ASK;
    /// Not a count of 0 to 4294967295 in plain decimal digits.
    NotACount = "not-a-count", ASK;
    /// Not a UTC time like 2026-11-22T04:19:00Z.
    NotATime = "not-a-time", ASK;
    /// A text that is not what its field needs.
    BadValue = "bad-value", ASK;
    /// not-after does not lie after not-before.
    DatesReversed = "dates-reversed", ASK;
    /// Supersedes its own sequence or a later one.
    SupersedesItself = "supersedes-itself", ASK;
    /// Two lines that supersede one license.
    DuplicateSupersedes = "duplicate-supersedes", ASK;
    /// One pool granted twice.
    DuplicateGrant = "duplicate-grant", ASK;
    /// One key defined twice, or one name for two keys.
    DuplicateDefinition = "duplicate-definition", ASK;
    /// Two hosts of one role.
    DuplicateHostRole = "duplicate-host-role", ASK;
    /// A grant of, or a reference to, a key without definition.
    UndefinedKey = "undefined-key", ASK;
    /// A key that includes or requires itself, directly or in a circle.
    CircularKey = "circular-key", ASK;
    /// No primary host where one is needed.
    NoHost = "no-host", "Run `leasehold request` on the server and send the licensor its host request.";
    /// More factors needed than there are, or none.
    NeedOutOfRange = "need-out-of-range", ASK;
    /// A host ID that cannot be read.
    BadHostId = "bad-host-id", "Copy the host ID again from `leasehold host-id`.";
    /// Virtual cloud together with local usage tracking.
    VirtualCloudLocalUsage = "virtual-cloud-local-usage", ASK;
    /// Virtual cloud under the perpetual model.
    VirtualCloudPerpetual = "virtual-cloud-perpetual", ASK;
    /// Virtual cloud with an unlimited call-port key.
    VirtualCloudUnlimitedCallPort = "virtual-cloud-unlimited-call-port", ASK;
    /// A number of days out of range.
    BadGraceDays = "bad-grace-days", ASK;
    /// The ramp does not begin at midnight UTC.
    RampNotMidnight = "ramp-not-midnight", ASK;
    /// A concurrent pool of a key that no user can log on with.
    NotConcurrent = "not-concurrent", ASK;
    /// A key that nobody may hold.
    NoHolder = "no-holder", ASK;
    /// Holders that do not fit the key's kind or role.
    HoldersUnfit = "holders-unfit", ASK;
    /// A role that does not fit the key's kind, or that two keys of the file play.
    RoleUnfit = "role-unfit", ASK;
    /// The claimed machine did not sign the request or receipt.
    NotItsInstallation = "not-its-installation", "Make it again on the machine itself.";
    /// A receipt for another file than the one at hand.
    AnotherFile = "another-file", "Ask the licensor for the receipt of this file, or send the file again.";
    /// An answer to another request than the one that is open, as one that comes a second time.
    AnotherRequest = "another-request", CHECK_IN_AGAIN;
    /// An answer that quotes another nonce than the request.
    AnotherNonce = "another-nonce", CHECK_IN_AGAIN;
    /// An answer for another license.
    AnotherLicense = "another-license", CHECK_IN_AGAIN;
    /// An answer for another installation.
    AnotherInstallation = "another-installation", "Take the answer to the installation that it names. For this one, check in again.";
    /// An answer with another counter than the request.
    AnotherCounter = "another-counter", CHECK_IN_AGAIN;
    /// Something that came beside an answer which does not name it.
    NotInAnswer = "not-in-answer", "Nothing needs to be done: what the answer names is taken. If it happens again, something between this server and the licensor changes what passes.";
    /// No reply to a check-in: not the JSON object that it ought to be.
    NotAReply = "not-a-reply", "Check that the check-in endpoint is the licensor's, and that no proxy answers in its place.";
}

/// A refusal: what was wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    line: Option<u32>,
    what: String,
}

impl Refusal {
    /// A refusal of `reason`; `what` is a sentence without its full stop.
    pub(crate) fn new(reason: Reason, what: impl Into<String>) -> Self {
        Self { reason, line: None, what: what.into() }
    }

    /// The same, at a line counted from 1.
    pub(crate) fn at(reason: Reason, line: impl Into<Option<u32>>, what: impl Into<String>) -> Self {
        Self { reason, line: line.into(), what: what.into() }
    }

    /// The stable code, in kebab-case.
    pub fn reason(&self) -> &'static str {
        self.reason.code()
    }

    /// The reason to match on.
    pub fn kind(&self) -> Reason {
        self.reason
    }

    /// The line it is about, from 1, where one line is to blame.
    pub fn line(&self) -> Option<u32> {
        self.line
    }

    /// What was wrong, without what to do.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do.
    pub fn remedy(&self) -> &'static str {
        self.reason.remedy()
    }
}

impl fmt::Display for Refusal {
    /// `Line 7: sequence is written +1 ... . Ask the licensor for a corrected file.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "Line {line}: ")?;
        }
        write!(f, "{}. {}", self.what, self.reason.remedy())
    }
}

impl std::error::Error for Refusal {}

/// Outside text as it may stand in a message: shortened, without anything that moves a cursor.
pub(crate) fn quote(text: &str) -> String {
    let shown: String = text.chars().take(60).flat_map(visible).collect();
    if text.chars().nth(60).is_some() { format!("`{shown}…`") } else { format!("`{shown}`") }
}

/// A character as it is, or spelled out where it would not be seen.
fn visible(character: char) -> impl Iterator<Item = char> {
    let plain = matches!(character, '"' | '\'');
    let spelled = (!plain).then(|| character.escape_debug());
    plain.then_some(character).into_iter().chain(spelled.into_iter().flatten())
}
