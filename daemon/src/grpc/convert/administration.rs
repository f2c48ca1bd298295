//! The messages of the `Administration` service: acts that are asked for, pages of lists, and what is shown.

mod acts;
mod lists;
mod shown;
pub(crate) mod standing;
pub(crate) mod usage;

pub(crate) use acts::*;
pub(crate) use lists::*;
pub(crate) use shown::*;
