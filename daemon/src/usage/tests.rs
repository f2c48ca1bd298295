//! The room against an oracle that hears acknowledged answers only: whatever befalls the process, the disk and the clocks,
//! the opened files say what was acknowledged, once each.

mod days;
mod heart;
mod oracle;
mod points;
mod room;
mod site;
