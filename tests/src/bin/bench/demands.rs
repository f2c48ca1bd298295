//! What the specification demands (09, Speed), beside what was measured. A row that could not be measured here says so.

use serde::Serialize;

use crate::{
    load::Pools,
    measure::{How, Results, Who},
    qualities::Step,
    rivals::Rival,
    site::KEY,
};

/// A row of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Demand {
    pub(crate) what: String,
    pub(crate) demanded: String,
    pub(crate) measured: String,
    /// Nothing where it was not measured.
    pub(crate) met: Option<bool>,
}

/// All rows.
pub(crate) fn judged(results: &Results) -> Vec<Demand> {
    let mut all = Vec::new();
    rates(results, &mut all);
    let qualities = &results.qualities;
    flat("from 10 to 100,000 seats", &qualities.seats, &mut all);
    if let (Some(few), Some(many)) = (qualities.leases.first(), qualities.leases.last()) {
        flat(&format!("from {} to {} live leases", few.size, many.size), &qualities.leases, &mut all);
    }
    if let Some(half) = &qualities.half {
        let most_us = f64::from(results.machine.sync_p50_us) + 2_000.0;
        all.push(Demand {
            what: format!("p99 of acquire at half the top rate ({:.0} acquires/s and their releases)", half.per_s),
            demanded: format!("one sync + 2 ms = {:.2} ms", most_us / 1e3),
            measured: format!("{:.2} ms", half.p99_us / 1e3),
            met: Some(half.p99_us <= most_us),
        });
    }
    if let Some(renewing) = &qualities.renewing {
        all.push(Demand {
            what: format!("renewal of {} leases over one stream", renewing.leases),
            demanded: "1 s; no write to disk per renewal".to_owned(),
            measured: format!(
                "{:.2} ms; {} bytes written during {} of them",
                renewing.took_ms, renewing.written_bytes, renewing.beats
            ),
            // A run's contact is stored once a minute: a page or two, whatever was renewed.
            met: Some(renewing.took_ms <= 1_000.0 && renewing.written_bytes < renewing.leases.max(65_536)),
        });
    }
    for overload in &qualities.overload {
        let others = overload.flooded.faults.values().sum::<u64>() as usize + overload.renewals.faults.len();
        let refusals: Vec<String> =
            overload.flooded.refused.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        all.push(Demand {
            what: format!("renewals under overload: {} ({} in flight)", overload.what, overload.in_flight),
            demanded: "p99 under 50 ms; no error but OVERLOADED or a refusal".to_owned(),
            measured: format!(
                "{:.1} ms; {} granted, {}, {others} other errors",
                overload.renewals.p99_ms(),
                overload.flooded.granted,
                refusals.join(", ")
            ),
            met: Some(overload.renewals.p99_ms() < 50.0 && others == 0),
        });
    }
    if let Some(restart) = &qualities.restart {
        all.push(Demand {
            what: format!("restart with {} leases after kill -9", restart.leases),
            demanded: "granting again within 2 s".to_owned(),
            measured: format!("{:.0} ms", restart.until_granting_ms),
            met: Some(restart.until_granting_ms <= 2_000.0),
        });
        all.push(Demand {
            what: "memory of a live lease".to_owned(),
            demanded: "under 300 bytes".to_owned(),
            measured: format!("{:.0} bytes", restart.bytes_a_lease),
            met: Some(restart.bytes_a_lease < 300.0),
        });
    }
    if let Some(file) = &qualities.file {
        all.push(Demand {
            what: format!("an activation file loaded under load ({:.0} acquires/s)", file.per_s),
            demanded: "no pause over 20 ms".to_owned(),
            measured: format!("longest acquire {:.1} ms ({:.1} ms without a file)", file.longest_ms, file.without_ms),
            met: Some(file.longest_ms <= 20.0),
        });
    }
    all
}

/// Who a rate is compared with, at how many in flight, and how much of it is demanded.
type Against = (&'static str, Who, How, usize, f64);

fn rates(results: &Results, all: &mut Vec<Demand>) {
    const STREAMS: How = How::Streams(8);
    const ONE: Pools = Pools::One(KEY);
    let by_streams: [Against; 4] = [
        ("Redis", Who::Rival(Rival::Redis), How::Unary, 256, 2.0),
        ("PostgreSQL", Who::Rival(Rival::Postgres), How::Unary, 64, 10.0),
        ("etcd", Who::Rival(Rival::Etcd), How::Unary, 64, 15.0),
        ("a stream echo with a journal", Who::Journal, STREAMS, 256, 0.5),
    ];
    let by_unary: [Against; 3] = [
        ("an empty unary echo", Who::Echo, How::Unary, 64, 0.6),
        ("PostgreSQL", Who::Rival(Rival::Postgres), How::Unary, 64, 3.0),
        ("etcd", Who::Rival(Rival::Etcd), How::Unary, 64, 6.0),
    ];
    let cases: [(&str, How, usize, &[Against]); 2] = [
        ("streams, 256 in flight", STREAMS, 256, by_streams.as_slice()),
        ("unary, 64 in flight", How::Unary, 64, by_unary.as_slice()),
    ];
    for (name, how, in_flight, against) in cases {
        for (pools_name, pools) in [("one pool", ONE), ("1,000 pools", Pools::Many)] {
            let Some(ours) = results.figures(Who::Daemon, how, pools, in_flight) else { continue };
            for (other, who, how, in_flight, times) in against {
                // The echoes know no pools.
                let pools = if matches!(who, Who::Rival(_)) { pools } else { ONE };
                let of = |figure: f64| {
                    if *times < 1.0 { format!("{:.0} %", figure * 100.0) } else { format!("{figure:.1} ×") }
                };
                let theirs = results.figures(*who, *how, pools, *in_flight);
                let theirs = theirs.filter(|theirs| theirs.operations_per_s > 0.0);
                let ratio = theirs.map(|theirs| ours.operations_per_s / theirs.operations_per_s);
                all.push(Demand {
                    what: format!("{name}, {pools_name}, beside {other}"),
                    demanded: of(*times),
                    measured: ratio.zip(theirs).map_or_else(
                        || "not measured".to_owned(),
                        |(ratio, theirs)| {
                            let (us, them) = (ours.operations_per_s, theirs.operations_per_s);
                            format!("{} ({us:.0}/s to {them:.0}/s)", of(ratio))
                        },
                    ),
                    met: ratio.map(|ratio| ratio >= *times),
                });
            }
        }
    }
}

fn flat(name: &str, steps: &[Step], all: &mut Vec<Demand>) {
    type Of = fn(&Step) -> f64;
    let ways: [(&str, Of); 2] = [("streams", |step| step.streams_us), ("unary", |step| step.unary_us)];
    for (way, of) in ways {
        let (least, most) = steps.iter().map(of).fold((f64::INFINITY, 0.0_f64), |(a, b), us| (a.min(us), b.max(us)));
        if steps.len() < 2 {
            continue;
        }
        let figures: Vec<String> = steps.iter().map(|step| format!("{:.1}", of(step))).collect();
        all.push(Demand {
            what: format!("{way}, {name}"),
            demanded: "flat within 20 % (processor time an operation)".to_owned(),
            measured: format!("{:+.0} % ({} µs)", (most / least - 1.0) * 100.0, figures.join(", ")),
            met: Some(most / least <= 1.2),
        });
    }
}
