//! The figures for people and for programs.

use std::fmt::Write as _;

use crate::{
    demands::{self, Demand},
    measure::Results,
};

/// One JSON document: what was measured, and the rows of the specification.
pub(crate) fn json(results: &Results) -> String {
    #[derive(serde::Serialize)]
    struct Document<'r> {
        #[serde(flatten)]
        results: &'r Results,
        demands: Vec<Demand>,
    }
    serde_json::to_string_pretty(&Document { results, demands: demands::judged(results) }).unwrap_or_default()
}

/// A number with its thousands apart.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Columns of which the first stands left, the others right.
fn aligned<const N: usize>(rows: &[[String; N]], left: usize) -> String {
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            let gap = " ".repeat(width - cell.chars().count());
            let between = if column == 0 { "" } else { "  " };
            // A text never fails to be written to.
            let _ =
                if column < left { write!(line, "{between}{cell}{gap}") } else { write!(line, "{between}{gap}{cell}") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Aligned tables.
pub(crate) fn tables(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "Machine: {}, {} cores, {} GiB, Linux {}; a synced 4 KiB append takes {} µs (p99 {} µs); load before {}\n\
         Server and load generator share it. {} rounds of {} s each; medians. Up to {} unary calls share a connection.\n\n",
        machine.processor,
        machine.cores,
        (machine.memory_mib + 512) / 1_024,
        machine.kernel,
        machine.sync_p50_us,
        machine.sync_p99_us,
        machine.load_before,
        results.rounds,
        results.seconds,
        results.share,
    );
    for missing in &results.missing {
        let _ = writeln!(text, "Left out: {missing}");
    }
    if !results.figures.is_empty() {
        let head =
            ["", "in flight", "operations/s", "slowest-fastest", "p50 µs", "p99 µs", "server µs/op", "load µs/op"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(results.figures.iter().map(|line| {
            [
                line.name.to_owned(),
                thousands(line.in_flight as f64),
                thousands(line.operations_per_s),
                format!("{}-{}", thousands(line.from_per_s), thousands(line.to_per_s)),
                thousands(line.p50_us),
                thousands(line.p99_us),
                format!("{:.1}", line.server_us),
                format!("{:.1}", line.generator_us),
            ]
        }));
        text.push_str(&aligned(&rows, 1));
        text.push('\n');
    }
    let demands = demands::judged(results);
    if !demands.is_empty() {
        let mut rows = vec![["", "demanded", "measured", ""].map(str::to_owned)];
        rows.extend(demands.into_iter().map(|row| {
            let met = match row.met {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            [row.what, row.demanded, row.measured, met.to_owned()]
        }));
        text.push_str(&aligned(&rows, 4));
        text.push('\n');
    }
    if !results.attacks.is_empty() {
        let head = ["hostile clients", "renewals", "p99 ms", "longest ms", "errors", "MiB before", "at most", "after"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(results.attacks.iter().map(|attack| {
            [
                attack.what.clone(),
                thousands(attack.renewals.renewals as f64),
                format!("{:.1}", attack.renewals.p99_ms()),
                format!("{:.1}", f64::from(attack.renewals.longest_us) / 1e3),
                attack.renewals.faults.len().to_string(),
                format!("{:.0}", attack.before_mib),
                format!("{:.0}", attack.most_mib),
                format!("{:.0}", attack.after_mib),
            ]
        }));
        text.push_str(&aligned(&rows, 1));
    }
    text.trim_end().to_owned()
}
