//! Names that travel between files, engine and people: checked once, then carried as their own types.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// The suffix that names the concurrent pool of a key (01, Words).
pub const CONCURRENT_SUFFIX: &str = "_CONCURRENT";

/// The most bytes of a key's name.
pub const KEY_NAME_MAX_BYTES: usize = 128;

/// The most bytes of any other name: users, stations, applications, computers, accounts.
pub const LABEL_MAX_BYTES: usize = 256;

/// Why a text cannot be a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// Nothing was given.
    #[error("it is empty")]
    Empty,
    /// More bytes than allowed.
    #[error("it has {bytes} bytes; at most {most} are allowed")]
    TooLong {
        /// Bytes found.
        bytes: usize,
        /// Bytes allowed.
        most: usize,
    },
    /// A character that no name of this sort may have.
    #[error("it holds the character {0:?}, which is not allowed")]
    Character(char),
    /// A key's name that would read as the concurrent pool of another key.
    #[error("a key's name must not end in {CONCURRENT_SUFFIX}: that names the key's concurrent pool")]
    PoolSuffix,
    /// Blanks at either end, which nobody sees.
    #[error("it begins or ends with a blank")]
    OuterBlank,
}

/// The name of one license key, such as `I3_ACCESS_CLIENT`: 1 to 128 of `A-Z a-z 0-9 _ . -`, not ending in
/// `_CONCURRENT`. Names compare byte by byte; other spellings are aliases in the key's definition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(Arc<str>);

impl KeyName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        if text.is_empty() {
            return Err(NameFault::Empty);
        }
        if text.len() > KEY_NAME_MAX_BYTES {
            return Err(NameFault::TooLong { bytes: text.len(), most: KEY_NAME_MAX_BYTES });
        }
        if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "_.-".contains(*c))) {
            return Err(NameFault::Character(bad));
        }
        if text.ends_with(CONCURRENT_SUFFIX) {
            return Err(NameFault::PoolSuffix);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for KeyName {
    type Error = NameFault;

    fn try_from(text: String) -> Result<Self, NameFault> {
        text.parse()
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.0.to_string()
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How seats of a pool are taken (01, Allocation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// By assignment, logged on or not (ALLOC-2, ALLOC-3). Units of site keys are counted here too (SITE-5).
    Assignable,
    /// By being logged on (ALLOC-5).
    Concurrent,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::Assignable => "assignable",
            Method::Concurrent => "concurrent",
        })
    }
}

/// All units of one key under one method: `I3_ACCESS_CLIENT` or `I3_ACCESS_CLIENT_CONCURRENT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PoolName {
    /// The key whose units these are.
    pub key: KeyName,
    /// How they are taken.
    pub method: Method,
}

impl FromStr for PoolName {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        match text.strip_suffix(CONCURRENT_SUFFIX) {
            Some(key) => Ok(Self { key: key.parse()?, method: Method::Concurrent }),
            None => Ok(Self { key: text.parse()?, method: Method::Assignable }),
        }
    }
}

impl TryFrom<String> for PoolName {
    type Error = NameFault;

    fn try_from(text: String) -> Result<Self, NameFault> {
        text.parse()
    }
}

impl From<PoolName> for String {
    fn from(name: PoolName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.method {
            Method::Assignable => write!(f, "{}", self.key),
            Method::Concurrent => write!(f, "{}{CONCURRENT_SUFFIX}", self.key),
        }
    }
}

/// Any other name a person or program gives: 1 to 256 bytes, no control character, no blank at either end. Compared
/// byte by byte. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(Arc<str>);

impl Label {
    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        if text.is_empty() {
            return Err(NameFault::Empty);
        }
        if text.len() > LABEL_MAX_BYTES {
            return Err(NameFault::TooLong { bytes: text.len(), most: LABEL_MAX_BYTES });
        }
        if let Some(bad) = text.chars().find(|c| is_hidden(*c)) {
            return Err(NameFault::Character(bad));
        }
        if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
            return Err(NameFault::OuterBlank);
        }
        Ok(Self(text.into()))
    }
}

/// Directional marks and line separators could make one name look like another in a log or a table.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

impl TryFrom<String> for Label {
    type Error = NameFault;

    fn try_from(text: String) -> Result<Self, NameFault> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0.to_string()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_name_is_a_key_and_a_method() {
        let pool: PoolName = "I3_ACCESS_CLIENT_CONCURRENT".parse().unwrap();
        assert_eq!((pool.key.as_str(), pool.method), ("I3_ACCESS_CLIENT", Method::Concurrent));
        assert_eq!(pool.to_string(), "I3_ACCESS_CLIENT_CONCURRENT");
        assert_eq!("K_CONCURRENT_CONCURRENT".parse::<PoolName>(), Err(NameFault::PoolSuffix));
        assert_eq!("_CONCURRENT".parse::<PoolName>(), Err(NameFault::Empty));
    }

    #[test]
    fn labels_hold_no_hidden_characters() {
        assert!("Müller, Jörg (Köln)".parse::<Label>().is_ok());
        for bad in ["", " a", "a ", "a\nb", "a\u{202e}b", "\u{7f}", &"x".repeat(257)] {
            assert!(bad.parse::<Label>().is_err(), "{bad:?}");
        }
    }
}
