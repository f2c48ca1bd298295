//! Why something did not get to the licensor: a usage file, or (as far as it is of the way) a check-in. Each with a stable code, what happened in words, and what to do. Nothing
//! here is secret: no password, no key and no signature is ever put into one.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

/// What was being done when time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doing {
    /// Looking up a name.
    Name,
    /// Opening a connection.
    Connection,
    /// Asking the proxy for a tunnel.
    Tunnel,
    /// The TLS handshake.
    Tls,
    /// The request, its file, or the answer.
    Exchange,
}

impl Doing {
    /// As the end of `no answer came …`.
    pub fn words(self) -> &'static str {
        match self {
            Doing::Name => "while its name was looked up",
            Doing::Connection => "while the connection was opened",
            Doing::Tunnel => "while the proxy was asked for a tunnel",
            Doing::Tls => "during the TLS handshake",
            Doing::Exchange => "after the connection was there",
        }
    }
}

/// Why a server's certificate is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unverified {
    /// No authority that is trusted here has signed it.
    UnknownAuthority,
    /// It is for other names.
    OtherName,
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// Its authority took it back.
    Revoked,
    /// Something else, in the words of the TLS library.
    Other(String),
}

/// What a person and a program are told of a trouble; its [`fmt::Display`] is what happened.
pub trait Named: fmt::Display {
    /// A stable code.
    fn code(&self) -> &str;
    /// What to do.
    fn remedy(&self) -> String;
}

impl Named for Trouble {
    fn code(&self) -> &str {
        Trouble::code(self)
    }

    fn remedy(&self) -> String {
        Trouble::remedy(self)
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "trouble", rename_all_fields = "kebab-case")]
pub enum Trouble {
    /// Neither the activation file nor the configuration says where files go.
    NoDestination,
    /// What is said there is no destination.
    BadDestination {
        /// What is said.
        said: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file that the configuration names, or a systemd credential, cannot be used.
    Setting {
        /// The setting.
        setting: String,
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There are no credentials for the bucket.
    NoCredentials,
    /// The system trusts no certificate authority at all.
    NoAuthorities,
    /// A name is not known.
    NameNotFound {
        /// Which.
        host: String,
        /// The system's words.
        why: String,
    },
    /// Nobody listens there.
    Refused {
        /// Host and port.
        at: String,
    },
    /// The network leads nowhere.
    Unreachable {
        /// Host and port.
        at: String,
        /// The system's words.
        why: String,
    },
    /// No answer came in time.
    TimedOut {
        /// Host and port.
        at: String,
        /// While what was done.
        doing: Doing,
    },
    /// The forward proxy cannot be reached.
    ProxyUnreachable {
        /// Host and port of the proxy.
        proxy: String,
        /// Why, as the end of a sentence.
        why: String,
    },
    /// The proxy answers 407: it wants to know who asks, or does not believe it.
    ProxyAuthentication {
        /// Host and port of the proxy.
        proxy: String,
        /// A name and password were sent.
        sent: bool,
    },
    /// The proxy makes no tunnel.
    ProxyRefused {
        /// Host and port of the proxy.
        proxy: String,
        /// Where to.
        to: String,
        /// Its answer.
        status: u16,
    },
    /// What listens there is no proxy.
    ProxyGarbage {
        /// Host and port of the proxy.
        proxy: String,
    },
    /// The server's certificate is not believed.
    TlsUnverified {
        /// Host and port.
        at: String,
        /// Why.
        why: Unverified,
    },
    /// There is no TLS to be had.
    TlsFailed {
        /// Host and port.
        at: String,
        /// The TLS library's words.
        why: String,
    },
    /// The connection ended in the middle.
    CutOff {
        /// Host and port.
        at: String,
        /// What of it is known.
        why: String,
    },
    /// The bucket does not take these credentials.
    WrongCredentials {
        /// The server's words.
        said: String,
    },
    /// There is no such bucket, or the endpoint serves nothing under this path.
    NotThere {
        /// What is not there.
        what: String,
        /// The server's words.
        said: String,
    },
    /// The bucket is elsewhere.
    Redirected {
        /// The region or address that was named; empty where none was.
        to: String,
    },
    /// The server says no to this file.
    ServerRefused {
        /// The HTTP status.
        status: u16,
        /// Its words.
        said: String,
    },
    /// The server cannot now.
    ServerBusy {
        /// The HTTP status.
        status: u16,
        /// Its words.
        said: String,
        /// Seconds after which it wants to be asked again, where it said so.
        retry_after_s: Option<u64>,
    },
    /// The answer is none that such a server gives.
    Garbage {
        /// Host and port.
        at: String,
        /// What is wrong with it.
        why: String,
    },
    /// The receipt is for another file.
    ReceiptForOther {
        /// What differs.
        why: String,
    },
    /// The receipt is not signed by a receipt key of the licensor.
    ReceiptNotSigned {
        /// What is wrong.
        why: String,
    },
    /// The file is in the bucket, and whether there is a receipt must not be seen.
    ReceiptForbidden {
        /// The server's words.
        said: String,
    },
    /// The server's clock is far from ours.
    ClockOff {
        /// Seconds that ours is ahead of the server's.
        ahead_s: i64,
    },
    /// The state directory cannot be used.
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The file is not what was written; it is made again where the database still holds it.
    FileDamaged {
        /// Which.
        path: PathBuf,
    },
    /// The daemon could not note what was done.
    NotNoted {
        /// Why.
        why: String,
    },
}

impl Trouble {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Trouble::NoDestination => "no-destination",
            Trouble::BadDestination { .. } => "bad-destination",
            Trouble::Setting { .. } => "setting",
            Trouble::NoCredentials => "no-credentials",
            Trouble::NoAuthorities => "no-authorities",
            Trouble::NameNotFound { .. } => "name-not-found",
            Trouble::Refused { .. } => "refused",
            Trouble::Unreachable { .. } => "unreachable",
            Trouble::TimedOut { .. } => "timed-out",
            Trouble::ProxyUnreachable { .. } => "proxy-unreachable",
            Trouble::ProxyAuthentication { .. } => "proxy-authentication",
            Trouble::ProxyRefused { .. } => "proxy-refused",
            Trouble::ProxyGarbage { .. } => "proxy-garbage",
            Trouble::TlsUnverified { .. } => "tls-unverified",
            Trouble::TlsFailed { .. } => "tls-failed",
            Trouble::CutOff { .. } => "cut-off",
            Trouble::WrongCredentials { .. } => "wrong-credentials",
            Trouble::NotThere { .. } => "not-there",
            Trouble::Redirected { .. } => "redirected",
            Trouble::ServerRefused { .. } => "server-refused",
            Trouble::ServerBusy { .. } => "server-busy",
            Trouble::Garbage { .. } => "garbage",
            Trouble::ReceiptForOther { .. } => "receipt-for-other",
            Trouble::ReceiptNotSigned { .. } => "receipt-not-signed",
            Trouble::ReceiptForbidden { .. } => "receipt-forbidden",
            Trouble::ClockOff { .. } => "clock-off",
            Trouble::Disk { .. } => "disk",
            Trouble::FileDamaged { .. } => "file-damaged",
            Trouble::NotNoted { .. } => "not-noted",
        }
    }

    /// What to do.
    pub fn remedy(&self) -> String {
        match self {
            Trouble::NoDestination => "ask the licensor for a file that names a destination, or set `usage.destination` in the \
                 configuration"
                .into(),
            Trouble::BadDestination { .. } => "set `usage.destination` to s3://BUCKET/PREFIX or to https://HOST as the licensor \
                 says; it goes before what the activation file names"
                .into(),
            Trouble::Setting { setting, .. } => format!("mend the file, or name another one in `{setting}`"),
            Trouble::NoCredentials => "put the credentials of the bucket into a file and name it in `usage.s3.credentials`, load \
                 them as the systemd credential `usage-s3`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .into(),
            Trouble::NoAuthorities => {
                "install the system's certificate authorities (ca-certificates), or name a file of them in `network.ca`".into()
            }
            Trouble::NameNotFound { host, .. } => format!(
                "check that {host} is right and that this server can look names up; where it cannot on purpose, set `network.proxy`"
            ),
            Trouble::Refused { at } | Trouble::Unreachable { at, .. } => {
                format!("let connections out to {at}, or set `network.proxy`")
            }
            Trouble::TimedOut { doing: Doing::Exchange, .. } => {
                "nothing, where it passes by itself; else ask the licensor, or who runs the line".into()
            }
            Trouble::TimedOut { at, doing: Doing::Tunnel } => {
                format!("check that {at} in `network.proxy` is a forward proxy, and ask who runs it why it is silent")
            }
            Trouble::TimedOut { at, .. } => {
                format!("see that no firewall drops connections to {at}, or set `network.proxy`")
            }
            Trouble::ProxyUnreachable { .. } => "check `network.proxy`, and that this server may connect there".into(),
            Trouble::ProxyAuthentication { sent: true, .. } => {
                "check the name in `network.proxy` and its password there, in `network.proxy_password_file` or in the systemd credential \
                 `proxy-password`"
                    .into()
            }
            Trouble::ProxyAuthentication { sent: false, .. } => {
                "put a name into `network.proxy` (http://NAME@HOST:PORT) and its password into `network.proxy_password_file`".into()
            }
            Trouble::ProxyRefused { to, .. } => format!("have the proxy let this server out to {to}"),
            Trouble::ProxyGarbage { .. } => "name an HTTP forward proxy in `network.proxy`, which takes CONNECT".into(),
            Trouble::TlsUnverified { why, .. } => match why {
                Unverified::UnknownAuthority => {
                    "where a proxy of yours opens TLS, or the endpoint is your own, put its authority's certificate into a file and name \
                     it in `network.ca`"
                        .into()
                }
                Unverified::OtherName => "check the host in the destination; it must be a name in the server's certificate".into(),
                Unverified::Expired | Unverified::NotYetValid => {
                    "check this server's clock; if that is right, tell who runs the endpoint that its certificate is not valid now".into()
                }
                Unverified::Revoked | Unverified::Other(_) => "tell who runs the endpoint".into(),
            },
            Trouble::TlsFailed { .. } => {
                "check host and port of the destination: what answers there does not speak TLS 1.2 or 1.3 as it should".into()
            }
            Trouble::CutOff { .. } => "nothing, where it passes by itself; else see what breaks connections on the way".into(),
            Trouble::WrongCredentials { .. } => {
                "ask the licensor for credentials that may write to this bucket; new ones count from the next attempt".into()
            }
            Trouble::NotThere { .. } => {
                "compare the destination with what the licensor says, and for a bucket `usage.s3.endpoint` and `usage.s3.region`".into()
            }
            Trouble::Redirected { .. } => "set `usage.s3.region`, `usage.s3.endpoint` or `usage.destination` to where it is".into(),
            Trouble::ServerRefused { .. } => "do what it says, or show it to the licensor; the file stays here".into(),
            Trouble::ServerBusy { .. } => "nothing: it is tried again".into(),
            Trouble::Garbage { .. } => {
                "check that the destination is the licensor's; what answers there is another server, or a portal that wants a logon".into()
            }
            Trouble::ReceiptForOther { .. } => "show it to the licensor; the file stays here until a receipt for it comes".into(),
            Trouble::ReceiptNotSigned { .. } => {
                "see that the destination is the licensor's, and that the licensor's newest root was loaded here".into()
            }
            Trouble::ReceiptForbidden { .. } => {
                "ask the licensor to let these credentials read (s3:GetObject) and list (s3:ListBucket) under the prefix".into()
            }
            Trouble::ClockOff { .. } => "set this server's clock, best by a time service".into(),
            Trouble::Disk { .. } => "make room, and see that the state directory belongs to the daemon's user".into(),
            Trouble::FileDamaged { .. } => {
                "nothing, where it passes by itself within a minute; else bring the file back from a backup".into()
            }
            Trouble::NotNoted { .. } => "see what the daemon says of its database; the attempt is made again, and that does no harm".into(),
        }
    }

    /// True where other files would fare no better now: they wait too.
    pub fn is_of_the_way(&self) -> bool {
        !matches!(
            self,
            Trouble::ServerRefused { .. }
                | Trouble::ReceiptForOther { .. }
                | Trouble::ReceiptNotSigned { .. }
                | Trouble::ReceiptForbidden { .. }
                | Trouble::FileDamaged { .. }
                | Trouble::Disk { .. }
                | Trouble::NotNoted { .. }
        )
    }

    /// True where the file may have arrived all the same, so that its receipt is to be asked for first.
    pub fn may_have_arrived(&self) -> bool {
        matches!(
            self,
            Trouble::TimedOut { doing: Doing::Exchange, .. }
                | Trouble::CutOff { .. }
                | Trouble::Garbage { .. }
                | Trouble::ServerBusy { .. }
                | Trouble::NotNoted { .. }
        )
    }
}

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unverified::UnknownAuthority => "no certificate authority that is trusted here has signed it",
            Unverified::OtherName => "it is for another name",
            Unverified::Expired => "it has expired",
            Unverified::NotYetValid => "it is not valid yet",
            Unverified::Revoked => "it has been revoked",
            Unverified::Other(why) => why,
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::NoDestination => f.write_str("nothing says where usage files go"),
            Trouble::BadDestination { said, why } => write!(f, "`{said}` is no destination for usage files: {why}"),
            Trouble::Setting { setting, path, why } => {
                write!(f, "{}, which `{setting}` stands for, cannot be used: {why}", path.display())
            }
            Trouble::NoCredentials => f.write_str("there are no credentials for the bucket"),
            Trouble::NoAuthorities => {
                f.write_str("this system trusts no certificate authority, so no server can be believed")
            }
            Trouble::NameNotFound { host, why } => write!(f, "the name {host} is not found ({why})"),
            Trouble::Refused { at } => write!(f, "{at} refuses connections"),
            Trouble::Unreachable { at, why } => write!(f, "{at} cannot be reached: {why}"),
            Trouble::TimedOut { at, doing } => write!(f, "no answer came from {at} in time, {}", doing.words()),
            Trouble::ProxyUnreachable { proxy, why } => write!(f, "the proxy {proxy} cannot be reached: {why}"),
            Trouble::ProxyAuthentication { proxy, sent: true } => {
                write!(f, "the proxy {proxy} does not take this name and password")
            }
            Trouble::ProxyAuthentication { proxy, sent: false } => {
                write!(f, "the proxy {proxy} wants a name and a password")
            }
            Trouble::ProxyRefused { proxy, to, status } => {
                write!(f, "the proxy {proxy} makes no connection to {to} (it answers {status})")
            }
            Trouble::ProxyGarbage { proxy } => write!(f, "what listens at {proxy} does not answer as a proxy does"),
            Trouble::TlsUnverified { at, why } => write!(f, "the certificate of {at} is not believed: {why}"),
            Trouble::TlsFailed { at, why } => write!(f, "there is no TLS with {at}: {why}"),
            Trouble::CutOff { at, why } => write!(f, "the connection to {at} ended in the middle ({why})"),
            Trouble::WrongCredentials { said } => write!(f, "the bucket does not take these credentials: {said}"),
            Trouble::NotThere { what, said } => write!(f, "{what} is not there: {said}"),
            Trouble::Redirected { to } if to.is_empty() => {
                f.write_str("the server says that it is elsewhere, and not where")
            }
            Trouble::Redirected { to } => write!(f, "the server says that it is elsewhere: {to}"),
            Trouble::ServerRefused { status, said } => {
                write!(f, "the server does not take the file ({status}): {said}")
            }
            Trouble::ServerBusy { status, said, .. } => {
                write!(f, "the server cannot take files now ({status}): {said}")
            }
            Trouble::Garbage { at, why } => write!(f, "{at} gave an answer that is none: {why}"),
            Trouble::ReceiptForOther { why } => write!(f, "a receipt came, but not for this file: {why}"),
            Trouble::ReceiptNotSigned { why } => write!(f, "a receipt came that the licensor did not sign: {why}"),
            Trouble::ReceiptForbidden { said } => {
                write!(f, "the file is in the bucket, but whether its receipt is there must not be seen: {said}")
            }
            Trouble::ClockOff { ahead_s } if *ahead_s >= 0 => {
                write!(f, "this server's clock is {ahead_s} s ahead of the other's")
            }
            Trouble::ClockOff { ahead_s } => write!(f, "this server's clock is {} s behind the other's", -ahead_s),
            Trouble::Disk { path, why } => write!(f, "{} cannot be used: {why}", path.display()),
            Trouble::FileDamaged { path } => write!(f, "{} is gone or is not what was written", path.display()),
            Trouble::NotNoted { why } => write!(f, "the daemon could not note how far the file has come: {why}"),
        }
    }
}
