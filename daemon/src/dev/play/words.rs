//! What the play says.

use std::path::Path;

use leasehold_engine::{decision::LeaseView, standing::Stage, time::WallTime};

use super::{
    super::{
        sample::{CALLS, SUPERVISOR, user_name},
        words::Run,
    },
    cast::{CALLS_HELD, NAME, Tried},
};

/// Columns of a line.
const WIDTH: usize = 108;
/// Columns of what stands before a text.
const LABEL: usize = 18;

/// Before anything happens.
pub(super) fn opening(days_per_second: u8, socket: &Path, run: Run) -> String {
    let days = if days_per_second == 1 { "a day goes".to_owned() } else { format!("{days_per_second} days go") };
    let mut text = format!("\nA site loses contact with its licensor, and {days} by in a second.\n\n");
    text.push_str(&wrapped(
        "",
        &format!(
            "The sample license asks for check-ins: enforcement begins today, and for each 7 days without an answer the \
             site goes one stage down. {NAME}, an application server, holds {CALLS_HELD} calls throughout ({CALLS}), and the \
             seat of {} with {SUPERVISOR}. At each stage it tries what an ordinary day brings.",
            user_name("manager", 1)
        ),
    ));
    text.push_str(&format!(
        "\nIn another terminal, while it runs:\n\n  export LEASEHOLD_SERVER=unix://{}\n",
        socket.display()
    ));
    for command in ["standing", "pools"] {
        text.push_str(&format!("  {} {command}\n", run.program("leasehold")));
    }
    text.push_str("\nCtrl-C ends it; everything is removed.\n");
    text
}

/// How the site is at a stage.
pub(super) struct Scene {
    pub(super) day: i64,
    pub(super) at: WallTime,
    pub(super) stage: Stage,
    /// Why check-ins fail, where they do.
    pub(super) asking: Option<String>,
    /// What the application server was told.
    pub(super) told: Vec<String>,
    pub(super) tries: Vec<Tried>,
    pub(super) calls: LeaseView,
    /// Call ports in use, and what counts of them.
    pub(super) ports: String,
    pub(super) seat: Option<LeaseView>,
}

impl Scene {
    pub(super) fn tell(&self) -> String {
        let (stage, title) = (self.stage.number(), self.stage.title());
        let mut text = format!("\n{}, day {}: STAGE {stage}, {title}\n\n", moment(self.at), self.day);
        text.push_str(&wrapped("it means", meaning(self.stage)));
        if let Some(asking) = &self.asking {
            text.push_str(&wrapped("the daemon", asking));
        }
        for told in &self.told {
            text.push_str(&wrapped(&format!("{NAME} is told"), told));
        }
        let units: u32 = self.calls.keys.iter().filter_map(|key| key.seat.as_ref()).map(|(_, units)| *units).sum();
        text.push_str(&wrapped("the calls", &format!("{units} go on; call ports in use: {}", self.ports)));
        let manager = user_name("manager", 1);
        text.push_str(&wrapped(
            manager.as_str(),
            match &self.seat {
                None => "is logged off",
                Some(seat) if seat.keys.iter().any(|held| held.key.as_str() == SUPERVISOR) => {
                    "is logged on, with the supervisor key"
                }
                Some(_) => "is logged on, without the supervisor key",
            },
        ));
        for tried in &self.tries {
            let result = match &tried.result {
                Ok(()) => "granted".to_owned(),
                Err(why) => format!("REFUSED: {}", first_sentence(why)),
            };
            text.push_str(&wrapped("tried", &format!("{}: {result}", tried.what)));
        }
        text
    }
}

/// What a stage means for people, in a line.
const fn meaning(stage: Stage) -> &'static str {
    match stage {
        Stage::Functional => "the licensor has answered: in good standing, and nothing is limited",
        Stage::QuietWarning => "a notice in `leasehold status`, and nothing else",
        Stage::ObtrusiveWarning => {
            "a notice on every answer of `leasehold`, a banner in the console; application servers are told"
        }
        Stage::SupervisorDisabled => "supervisor keys are refused, and leave the leases that hold them",
        Stage::PortsLimited => "of each pool of call ports a fifth can be used, at least 2; calls that run go on",
        Stage::Unlicensed => {
            "2 call ports in all and nothing else; calls that run go on, other leases end within 12 hours"
        }
    }
}

/// The 12 hours of stage 6 are over.
pub(super) fn later(at: WallTime, day: i64, told: &[String]) -> String {
    let mut text = format!("\n{}, day {day}: 12 hours later\n\n", moment(at));
    for told in told {
        text.push_str(&wrapped(&format!("{NAME} is told"), told));
    }
    text.push_str(&wrapped("the calls", "go on"));
    text.push('\n');
    text
}

/// After the table of the summary.
pub(super) fn closing(beats: u64) -> String {
    format!(
        "\n  The {CALLS_HELD} calls were held from the first day to the last, renewed by {beats} beats, and no stage ended one.\n\n"
    )
}

/// `2026-11-29 11:45 UTC`.
pub(super) fn moment(at: WallTime) -> String {
    let text = at.to_string();
    match (text.get(..10), text.get(11..16)) {
        (Some(date), Some(time)) => format!("{date} {time} UTC"),
        _ => text,
    }
}

/// Without what to do, once it has been said.
pub(super) fn brief(told: &str, is_known: bool) -> String {
    const FROM: &str = "Check in with ";
    const TO: &str = "what comes next.";
    match (told.find(FROM), told.find(TO)) {
        (Some(from), Some(to)) if is_known && from < to => format!("{}[…]{}", &told[..from], &told[to + TO.len()..]),
        _ => told.to_owned(),
    }
}

/// Up to the first full stop.
fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |end| &text[..=end])
}

/// A text in lines, with its label before it where it has one.
pub(super) fn wrapped(label: &str, text: &str) -> String {
    let indent = if label.is_empty() { 0 } else { LABEL };
    let mut lines = String::new();
    let mut line = if indent == 0 { String::new() } else { format!("  {label:<width$}", width = LABEL - 2) };
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(line.trim_end());
            lines.push('\n');
            line = " ".repeat(indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push_str(line.trim_end());
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit_their_lines() {
        let text = wrapped("acd-1 is told", &"word ".repeat(60));
        assert!(text.lines().count() > 2 && text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.starts_with("  acd-1 is told   word word"), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with(&format!("{}word", " ".repeat(LABEL)))), "{text}");
        assert_eq!(wrapped("", "one two"), "one two\n");
        let long = "x".repeat(200);
        assert_eq!(wrapped("", &long), format!("{long}\n"), "a word is never broken");
    }

    #[test]
    fn moments_and_sentences_are_short() {
        assert_eq!(moment("2026-11-29T11:45:07Z".parse().unwrap()), "2026-11-29 11:45 UTC");
        assert_eq!(first_sentence("It is full. Wait."), "It is full.");
        assert_eq!(first_sentence("It is full"), "It is full");
        let told = "Stage 3. Check in with `x`; it tells what comes next. Stage 4 follows.";
        assert_eq!((brief(told, false).as_str(), brief(told, true).as_str()), (told, "Stage 3. […] Stage 4 follows."));
        assert_eq!(brief("Something else.", true), "Something else.");
    }

    #[test]
    fn the_opening_says_how_to_look() {
        let text = opening(2, Path::new("/d/leasehold.sock"), Run::Installed);
        assert!(text.contains("2 days go by in a second"), "{text}");
        assert!(text.contains("export LEASEHOLD_SERVER=unix:///d/leasehold.sock\n  leasehold standing\n"), "{text}");
        assert!(opening(1, Path::new("/d"), Run::Installed).contains("a day goes by"));
    }
}
