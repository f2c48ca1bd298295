//! The figures for people and for programs.

use std::fmt::Write as _;

use crate::measure::Results;

/// One JSON document.
pub(crate) fn json(results: &Results) -> String {
    serde_json::to_string_pretty(results).unwrap_or_default()
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
    let mut rows = vec![
        [
            "",
            "in flight",
            "operations/s",
            "slowest-fastest",
            "p50 µs",
            "p99 µs",
            "server µs/op",
            "load µs/op",
            "of echo",
        ]
        .map(str::to_owned),
    ];
    for line in &results.figures {
        rows.push([
            line.name.to_owned(),
            thousands(line.in_flight as f64),
            thousands(line.operations_per_s),
            format!("{}-{}", thousands(line.from_per_s), thousands(line.to_per_s)),
            thousands(line.p50_us),
            thousands(line.p99_us),
            format!("{:.1}", line.server_us),
            format!("{:.1}", line.generator_us),
            line.of_echo.map_or_else(String::new, |share| format!("{:.0} %", share * 100.0)),
        ]);
    }
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            let gap = " ".repeat(width - cell.chars().count());
            // Names stand left, numbers right.
            let _ = if column == 0 { write!(line, "{cell}{gap}") } else { write!(line, "  {gap}{cell}") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let restart = &results.restart;
    let _ = write!(
        text,
        "\nRestart with {} live leases after kill -9: {} ms until a lease is granted; {} MiB resident",
        thousands(restart.leases as f64),
        thousands(restart.until_granting_ms),
        thousands(restart.resident_mib),
    );
    text
}
