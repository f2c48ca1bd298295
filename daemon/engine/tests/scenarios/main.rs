//! The rules as stories: tables of steps and what comes of each, in `*.txt` beside this file. Every heading cites the rules
//! that its story proves. `LEASEHOLD_WRITE=1` writes what came of the steps into the tables; judge the difference before
//! you keep it.

#[path = "../support/mod.rs"]
mod support;

mod stage;
mod told;

use std::{fmt::Write, path::PathBuf};

use stage::Stage;

/// One story: its heading and its lines.
struct Story {
    heading: String,
    lines: Vec<String>,
}

fn stories(text: &str) -> (Vec<String>, Vec<Story>) {
    let mut preamble = Vec::new();
    let mut stories: Vec<Story> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("== "), stories.last_mut()) {
            (Some(heading), _) => stories.push(Story { heading: heading.to_string(), lines: Vec::new() }),
            (None, Some(story)) => story.lines.push(line.to_string()),
            (None, None) => preamble.push(line.to_string()),
        }
    }
    (preamble, stories)
}

/// Plays a story; gives its lines as they should read.
fn play(story: &Story) -> String {
    let mut stage = Stage::new();
    let mut text = String::new();
    for line in &story.lines {
        let step = line.split(" -> ").next().unwrap_or(line).trim_end();
        if step.starts_with("    |") {
            // What came of the step before: written anew.
            continue;
        }
        if step.is_empty() || step.starts_with('#') {
            let _ = writeln!(text, "{step}");
            continue;
        }
        let (result, lines) = stage.step(step);
        let _ = match result.as_str() {
            "" => writeln!(text, "{step}"),
            result => writeln!(text, "{step} -> {result}"),
        };
        for line in lines {
            let _ = writeln!(text, "    | {}", line.trim_end());
        }
    }
    text
}

fn tell(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let (preamble, stories) = stories(&text);
    let mut told: String = preamble.iter().fold(String::new(), |text, line| text + line + "\n");
    let mut wrong = String::new();
    for story in &stories {
        let played = std::panic::catch_unwind(|| play(story)).unwrap_or_else(|panic| {
            let why = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_string()))
                .unwrap_or_default();
            let _ = writeln!(wrong, "== {}\n{why}", story.heading);
            story.lines.iter().fold(String::new(), |text, line| text + line + "\n")
        });
        let wanted = story.lines.iter().fold(String::new(), |text, line| text + line + "\n");
        if played != wanted {
            let _ = writeln!(wrong, "== {} ({name})", story.heading);
            for (is, should) in played.lines().zip(wanted.lines()).skip_while(|(is, should)| is == should).take(1) {
                let _ = writeln!(wrong, "  comes:  {is}\n  wanted: {should}");
            }
            if played.lines().count() != wanted.lines().count() {
                let _ = writeln!(wrong, "{played}");
            }
        }
        let _ = writeln!(told, "== {}\n{}", story.heading, played.trim_end_matches('\n'));
        told.push('\n');
    }
    if std::env::var_os("LEASEHOLD_WRITE").is_some() {
        std::fs::write(&path, format!("{}\n", told.trim_end())).unwrap();
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Every rule that is the engine's is cited by the heading of some story.
#[test]
fn every_rule_has_its_story() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let tables = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = tables.filter(|path| path.extension().is_some_and(|end| end == "txt"));
    let headings: Vec<String> =
        texts.flat_map(|path| stories(&std::fs::read_to_string(path).unwrap()).1).map(|story| story.heading).collect();
    let groups = [("ALLOC", 16), ("STATION", 6), ("MEDIA", 3), ("SITE", 6), ("LEVEL", 6), ("COMPLY", 1), ("LEASE", 14)];
    let rules = groups.into_iter().flat_map(|(group, last)| (1..=last).map(move |n| format!("{group}-{n}")));
    let cites = |heading: &str, rule: &str| heading.split([' ', ',', ':']).any(|word| word == rule);
    let untold: Vec<String> = rules.filter(|rule| !headings.iter().any(|heading| cites(heading, rule))).collect();
    assert!(untold.is_empty(), "no story cites {untold:?}");
}

macro_rules! tables {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            tell(concat!(stringify!($name), ".txt"));
        }
    )*};
}

tables! { alloc station media site level comply lease queue shares idle folder denials time }
