//! `leasehold usage send`: what came of trying at once.

use leasehold_proto::v1;
use serde::Serialize;

use super::UsageStatusDocument;
use crate::render::{
    Document,
    page::{Page, Tone},
};

/// The document of `leasehold usage send`.
#[derive(Clone, Debug, Serialize)]
pub struct SendDocument {
    /// Closed files that had no receipt when it began.
    pub files: u64,
    /// Those of them that still have none.
    pub left: u64,
    /// What came of it, in a sentence.
    pub message: String,
    /// How usage stands now.
    pub usage: Option<UsageStatusDocument>,
}

impl From<v1::SendUsageResponse> for SendDocument {
    fn from(answer: v1::SendUsageResponse) -> Self {
        Self { files: answer.files, left: answer.left, message: answer.message, usage: answer.usage.map(Into::into) }
    }
}

impl Document for SendDocument {
    fn write_text(&self, page: &mut Page<'_>) {
        page.line_in(if self.left == 0 { Tone::Good } else { Tone::Strong }, &self.message);
        if let Some(usage) = &self.usage {
            usage.write_troubles(page);
        }
    }
}
