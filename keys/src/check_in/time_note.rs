//! Time notes: the licensor says what time it was, to any site (05, Time). One that is old says less than a new one, and never
//! anything wrong: it was not earlier than that.

use crate::{
    key::SigningKey,
    note::{self, NoteKind},
    refusal::Refusal,
    render::Text,
    strict::read_document,
    time::WallTime,
};

/// What a time note says. It is a lower bound: now is this time, or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeNote {
    /// When it was signed, by the licensor's clock.
    pub time: WallTime,
}

impl TimeNote {
    /// The text of the note.
    pub fn render(&self) -> String {
        let mut text = Text::new(NoteKind::Time);
        text.text("time", self.time);
        text.finish()
    }

    /// The note, signed by check-in keys of the root.
    ///
    /// # Errors
    /// What would not be read again.
    pub fn sign(&self, keys: &[&SigningKey]) -> Result<String, Refusal> {
        let text = self.render();
        Self::parse(&text)?;
        note::sign(&text, keys)
    }

    /// Reads the text of a time note; [`crate::trust::Trust::time_note`] verifies.
    ///
    /// # Errors
    /// The first fault with its line.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        read_document(text, |table| {
            table.required("format")?.one_of(&[(NoteKind::Time.format(), ())])?;
            Ok(Self { time: table.required("time")?.time()? })
        })
    }
}
