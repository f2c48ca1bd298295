//! The plain content of event records: definitions of users, keys and key sets, numbered as they come along the segment,
//! and items that refer to them by number.

use std::collections::HashMap;

use zeroize::Zeroizing;

use super::{
    header::Names,
    item::{Item, KeySet, REMARK_MAX_BYTES, Remark, RemarkCode, User},
    pseudonym::Pseudonym,
    record::ITEMS_MAX,
    varint::{Reader, put, put_difference},
    write::SealFault,
};
use crate::{
    name::{KeyName, Label},
    time::WallTime,
};

/// The most users that a segment defines.
pub(super) const USERS_MAX: usize = 1 << 20;
/// The most keys that a segment defines.
pub(super) const KEYS_MAX: usize = 1 << 14;
/// The most key sets that a segment defines.
pub(super) const SETS_MAX: usize = 1 << 16;
/// The most keys of a set.
pub(super) const SET_KEYS_MAX: usize = 1 << 12;

const DEFINE_USER: u8 = 0x01;
const DEFINE_PSEUDONYM: u8 = 0x02;
const DEFINE_KEY: u8 = 0x03;
const DEFINE_SET: u8 = 0x04;
const PRESENT: u8 = 0x10;
const LOGON: u8 = 0x11;
const LOGOFF: u8 = 0x12;
const KEYS_CHANGED: u8 = 0x13;
const REMARK: u8 = 0x14;

/// What the items of a segment have in common, on either side.
struct Course {
    plain: bool,
    start: i64,
    /// The time of the last item but those present.
    last: i64,
    /// True from the first item of a session on: from then on nobody is present.
    begun: bool,
}

impl Course {
    fn new(names: Names, start: WallTime) -> Self {
        Self { plain: names == Names::Plain, start: start.as_ms(), last: start.as_ms(), begun: false }
    }
}

/// What a writer has defined so far.
pub(super) struct Encoder {
    course: Course,
    users: HashMap<User, usize>,
    keys: HashMap<KeyName, usize>,
    sets: HashMap<KeySet, usize>,
}

impl Encoder {
    pub(super) fn new(names: Names, start: WallTime) -> Self {
        Self { course: Course::new(names, start), users: HashMap::new(), keys: HashMap::new(), sets: HashMap::new() }
    }

    /// Writes the first of `items`, as many as fit into `room` bytes, and tells how many. Wherever it stops, all that it
    /// defined is written, so that what is left can follow in the next record.
    pub(super) fn encode(&mut self, items: &[Item], room: usize) -> Result<(Zeroizing<Vec<u8>>, usize), SealFault> {
        let items = &items[..items.len().min(ITEMS_MAX)];
        if items.is_empty() {
            return Err(SealFault::Nothing);
        }
        self.check(items)?;
        let mut out = Zeroizing::new(Vec::with_capacity(room.min(16 * items.len())));
        let mut taken = 0;
        for item in items {
            if self.item(item, &mut out, room).is_none() {
                break;
            }
            taken += 1;
        }
        if out.is_empty() { Err(SealFault::Full) } else { Ok((out, taken)) }
    }

    /// Refuses items that no reader would take, before anything is defined.
    fn check(&self, items: &[Item]) -> Result<(), SealFault> {
        let mut begun = self.course.begun;
        for (index, item) in items.iter().enumerate() {
            let why = match item {
                Item::Present { .. } if begun => Some("someone is present after a first event"),
                Item::Remark(remark) => (!is_remark(&remark.text)).then_some("the text is too long or not plain"),
                _ => None,
            };
            let user = match item.user() {
                Some(User::Plain(_)) if !self.course.plain => Some("the user is named where pseudonyms are promised"),
                Some(User::Pseudonym(_)) if self.course.plain => {
                    Some("the user has a pseudonym where names are promised")
                }
                _ => None,
            };
            let counter = (item.counter() == Some(0) && !matches!(item, Item::Logoff { .. }))
                .then_some("a counter of 0 is a logoff's alone");
            let keys = item.keys().filter(|keys| keys.len() > SET_KEYS_MAX).map(|_| "too many keys are applied");
            if let Some(why) = why.or(user).or(counter).or(keys) {
                return Err(SealFault::Item { index, why });
            }
            begun |= !matches!(item, Item::Present { .. } | Item::Remark(_));
        }
        Ok(())
    }

    fn item(&mut self, item: &Item, out: &mut Vec<u8>, room: usize) -> Option<()> {
        let (tag, at, user, counter, keys) = match item {
            Item::Present { since, user, counter, keys } => (PRESENT, since, user, counter, keys),
            Item::Logon { at, user, counter, keys } => (LOGON, at, user, counter, keys),
            Item::Logoff { at, user, counter, keys } => (LOGOFF, at, user, counter, keys),
            Item::KeysChanged { at, user, counter, keys } => (KEYS_CHANGED, at, user, counter, keys),
            Item::Remark(remark) => {
                let mut op = vec![REMARK];
                put_difference(&mut op, self.course.last, remark.at.as_ms());
                put(&mut op, remark.code.0.into());
                text(&mut op, &remark.text);
                append(out, room, &op)?;
                self.course.last = remark.at.as_ms();
                return Some(());
            }
        };
        let user = self.user(user, out, room)?;
        let keys = self.set(keys, out, room)?;
        let mut op = vec![tag];
        let from = if tag == PRESENT { self.course.start } else { self.course.last };
        put_difference(&mut op, from, at.as_ms());
        put(&mut op, user as u64);
        put(&mut op, (*counter).into());
        put(&mut op, keys as u64);
        append(out, room, &op)?;
        if tag != PRESENT {
            self.course.last = at.as_ms();
            self.course.begun = true;
        }
        Some(())
    }

    fn user(&mut self, user: &User, out: &mut Vec<u8>, room: usize) -> Option<usize> {
        if let Some(index) = self.users.get(user) {
            return Some(*index);
        }
        let mut op = Vec::new();
        match user {
            User::Plain(name) => {
                op.push(DEFINE_USER);
                text(&mut op, name.as_str());
            }
            User::Pseudonym(pseudonym) => {
                op.push(DEFINE_PSEUDONYM);
                op.extend(pseudonym.0);
            }
        }
        define(&mut self.users, user, USERS_MAX, out, room, &op)
    }

    fn set(&mut self, keys: &KeySet, out: &mut Vec<u8>, room: usize) -> Option<usize> {
        if let Some(index) = self.sets.get(keys) {
            return Some(*index);
        }
        let mut indexes = Vec::with_capacity(keys.len());
        for key in keys.iter() {
            let index = match self.keys.get(key) {
                Some(index) => *index,
                None => {
                    let mut op = vec![DEFINE_KEY];
                    text(&mut op, key.as_str());
                    define(&mut self.keys, key, KEYS_MAX, out, room, &op)?
                }
            };
            indexes.push(index);
        }
        indexes.sort_unstable();
        let mut op = vec![DEFINE_SET];
        put(&mut op, indexes.len() as u64);
        for index in indexes {
            put(&mut op, index as u64);
        }
        define(&mut self.sets, keys, SETS_MAX, out, room, &op)
    }
}

/// Appends a definition and numbers it, where both the record and the segment have room.
fn define<T: Clone + Eq + std::hash::Hash>(
    known: &mut HashMap<T, usize>,
    value: &T,
    most: usize,
    out: &mut Vec<u8>,
    room: usize,
    op: &[u8],
) -> Option<usize> {
    let index = known.len();
    if index >= most {
        return None;
    }
    append(out, room, op)?;
    known.insert(value.clone(), index);
    Some(index)
}

fn append(out: &mut Vec<u8>, room: usize, op: &[u8]) -> Option<()> {
    (out.len() + op.len() <= room).then(|| out.extend(op))
}

fn text(op: &mut Vec<u8>, text: &str) {
    put(op, text.len() as u64);
    op.extend(text.as_bytes());
}

fn is_remark(text: &str) -> bool {
    text.len() <= REMARK_MAX_BYTES && !text.chars().any(char::is_control)
}

/// What a reader has been told so far.
pub(super) struct Decoder {
    course: Course,
    users: Vec<User>,
    keys: Vec<KeyName>,
    sets: Vec<KeySet>,
}

impl Decoder {
    pub(super) fn new(names: Names, start: WallTime) -> Self {
        Self { course: Course::new(names, start), users: Vec::new(), keys: Vec::new(), sets: Vec::new() }
    }

    /// Reads the content of the next record.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence.
    pub(super) fn decode(&mut self, content: &[u8]) -> Result<Vec<Item>, &'static str> {
        if content.is_empty() {
            return Err("it is empty");
        }
        let mut reader = Reader(content);
        let mut items = Vec::new();
        while !reader.is_empty() {
            items.extend(self.op(&mut reader)?);
            if items.len() > ITEMS_MAX {
                return Err("it has more than 256 items");
            }
        }
        Ok(items)
    }

    fn op(&mut self, reader: &mut Reader<'_>) -> Result<Option<Item>, &'static str> {
        const CUT: &str = "it ends within an item, or a number is not in its shortest spelling";
        let tag = reader.byte().ok_or(CUT)?;
        match tag {
            DEFINE_USER | DEFINE_PSEUDONYM if (tag == DEFINE_USER) != self.course.plain => {
                Err("a user is named in another way than the header says")
            }
            DEFINE_USER => {
                let name: Label = read_text(reader).ok_or(CUT)?.parse().map_err(|_| "a user's name is not one")?;
                self.define_user(User::Plain(name))
            }
            DEFINE_PSEUDONYM => self.define_user(User::Pseudonym(Pseudonym(reader.array().ok_or(CUT)?))),
            DEFINE_KEY => {
                let name: KeyName = read_text(reader).ok_or(CUT)?.parse().map_err(|_| "a key's name is not one")?;
                if self.keys.len() >= KEYS_MAX {
                    return Err("the segment defines too many keys");
                }
                self.keys.push(name);
                Ok(None)
            }
            DEFINE_SET => {
                let count = reader.varint_usize().ok_or(CUT)?;
                if count > SET_KEYS_MAX || self.sets.len() >= SETS_MAX {
                    return Err("a key set is too large, or there are too many");
                }
                let mut previous = None;
                let mut keys = Vec::new();
                for _ in 0..count {
                    let index = reader.varint_usize().ok_or(CUT)?;
                    if previous.is_some_and(|previous| index <= previous) {
                        return Err("the keys of a set are not in order");
                    }
                    previous = Some(index);
                    keys.push(self.keys.get(index).ok_or("a set names a key that is not defined")?.clone());
                }
                self.sets.push(keys.into_iter().collect());
                Ok(None)
            }
            PRESENT | LOGON | LOGOFF | KEYS_CHANGED => {
                let from = if tag == PRESENT { self.course.start } else { self.course.last };
                let at = reader.difference(from).ok_or(CUT)?;
                let user = reader.varint_usize().ok_or(CUT)?;
                let counter = reader.varint_u32().ok_or(CUT)?;
                let keys = reader.varint_usize().ok_or(CUT)?;
                let user = self.users.get(user).ok_or("an item names a user that is not defined")?.clone();
                let keys = self.sets.get(keys).ok_or("an item names a key set that is not defined")?.clone();
                if counter == 0 && tag != LOGOFF {
                    return Err("a counter of 0 is not a logoff's");
                }
                if tag == PRESENT {
                    if self.course.begun {
                        return Err("someone is present after a first event");
                    }
                } else {
                    self.course.last = at;
                    self.course.begun = true;
                }
                let at = WallTime::from_ms(at);
                Ok(Some(match tag {
                    PRESENT => Item::Present { since: at, user, counter, keys },
                    LOGON => Item::Logon { at, user, counter, keys },
                    LOGOFF => Item::Logoff { at, user, counter, keys },
                    _ => Item::KeysChanged { at, user, counter, keys },
                }))
            }
            REMARK => {
                let at = reader.difference(self.course.last).ok_or(CUT)?;
                let code = RemarkCode(reader.varint_u32().ok_or(CUT)?);
                let text = read_text(reader).ok_or(CUT)?;
                if !is_remark(text) {
                    return Err("a remark is too long or not plain");
                }
                self.course.last = at;
                Ok(Some(Item::Remark(Remark { at: WallTime::from_ms(at), code, text: text.to_owned() })))
            }
            _ => Err("it has an item of a kind that is not known"),
        }
    }

    fn define_user(&mut self, user: User) -> Result<Option<Item>, &'static str> {
        if self.users.len() >= USERS_MAX {
            return Err("the segment defines too many users");
        }
        self.users.push(user);
        Ok(None)
    }
}

/// The items of plain contents of a segment that began at `start`, record by record in their order, opened by whatever
/// means: for tests of writers and readers alike.
///
/// # Errors
/// What is wrong, as the end of a sentence.
pub fn plain_items(names: Names, start: WallTime, contents: &[&[u8]]) -> Result<Vec<Item>, &'static str> {
    let mut decoder = Decoder::new(names, start);
    contents.iter().try_fold(Vec::new(), |mut items, content| {
        items.extend(decoder.decode(content)?);
        Ok(items)
    })
}

fn read_text<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    let length = reader.varint_usize()?;
    std::str::from_utf8(reader.take(length)?).ok()
}
