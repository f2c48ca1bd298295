//! Check-ins against the licensor's own endpoint, honest and by a script of its faults, and against servers and proxies that do
//! all that such do. Clocks stand still until a test moves them; nothing sleeps.

mod answers;
mod by_hand;
mod room;
mod schedule;
mod site;
mod way;
