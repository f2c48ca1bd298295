//! The usage files of the small site: one acknowledged, one that the way out keeps here, today's.

use leasehold_keys::{digest::Sha256, usage};
use leasehold_proto::v1::{self, export_usage_response::Part};
use tonic::Code;

use super::{at, refused};
use crate::scripted::Script;

/// A closed usage file, as the daemon of a site writes it.
pub(crate) const CLOSED: &[u8] = include_bytes!("../../../../../keys/tests/usage-vectors/good-closed.usg");
/// The same with a byte of a record changed.
pub(crate) const EDITED: &[u8] = include_bytes!("../../../../../keys/tests/usage-vectors/record-edited.usg");

/// The name that it ought to have.
pub(crate) fn closed_name() -> String {
    usage::verify(CLOSED).unwrap().name().to_string()
}

fn failure() -> v1::UsageFailure {
    v1::UsageFailure {
        code: "proxy-authentication".into(),
        message: "the proxy proxy.acme.example:3128 wants a name and a password (407)".into(),
        remedy:
            "put a name into `network.proxy` (http://NAME@HOST:PORT) and its password into `network.proxy_password_file`"
                .into(),
        at: at("2026-11-22T02:48:00Z"),
        attempts: 3,
        again: at("2026-11-22T03:20:00Z"),
    }
}

/// As `status` and `usage list` have it.
pub(crate) fn status() -> v1::UsageStatus {
    let count = |state: &str, files, bytes| v1::UsageCount { state: state.into(), files, bytes };
    v1::UsageStatus {
        mode: "automatic".into(),
        message:
            "collected and sent to https://usage.licensor.example; license 7f3c9a52-1f0e-4b1e-9c55-0d2f6a3b8e41 asks \
                  for it"
                .into(),
        backlog: 12,
        oldest_event: at("2026-11-22T02:59:18Z"),
        last_sealed: at("2026-11-22T02:58:40Z"),
        files: vec![
            count("open", 1, 2_048),
            count("closed", 1, 1_258_291),
            count("acknowledged", 1, 3_145_728),
            count("refused", 1, 1_048_576),
        ],
        destination: "https://usage.licensor.example".into(),
        failure: Some(failure()),
        last_acknowledged: at("2026-11-21T00:01:10Z"),
        deadlines: vec![v1::UsageDeadline {
            period: "2026-10".into(),
            due: at("2026-11-03T23:00:00Z"),
            due_day: "2026-11-04".into(),
            days_left: -18,
            files: 1,
            message: "the usage files of 2026-10 were due before 2026-11-04: one file has no receipt".into(),
        }],
        time_zone: "Europe/Berlin".into(),
        notices: vec![
            v1::Notice {
                reason: "USAGE_NOT_DELIVERED".into(),
                message:
                    "Usage files do not go out: the proxy proxy.acme.example:3128 wants a name and a password (407)."
                        .into(),
            },
            v1::Notice { reason: "USAGE_HELD_UP".into(), message: format!("{}.", held().message) },
        ],
        held: vec![held()],
    }
}

/// A file that the licensor does not take, while the way out is well.
fn held() -> v1::UsageHeld {
    v1::UsageHeld {
        state: "refused".into(),
        failure: Some(refusal()),
        files: vec![name(39, "20261119")],
        message: format!("1 usage file is not taken by the server ({}): {}", name(39, "20261119"), refusal().message),
    }
}

fn refusal() -> v1::UsageFailure {
    v1::UsageFailure {
        code: "server-refused".into(),
        message: "the server does not take the file (409): another file of segment 39 was received (fork)".into(),
        remedy: "do what it says, or show it to the licensor; the file stays here".into(),
        at: at("2026-11-22T02:40:00Z"),
        attempts: 12,
        again: at("2026-11-22T03:35:00Z"),
    }
}

fn name(segment: u32, day: &str) -> String {
    format!("0123456789abcdef0123456789abcdef-{segment:08}-{day}.usg")
}

fn files() -> Vec<v1::UsageFile> {
    let file = |segment: u32, day: &str, bytes, records, events, state: &str| {
        let name = name(segment, &day.replace('-', ""));
        v1::UsageFile {
            path: format!("/var/lib/leasehold/usage/{name}"),
            name,
            number: segment,
            day: day.into(),
            began: at(&format!("{day}T00:00:00Z")),
            because: "midnight".into(),
            records,
            events,
            bytes,
            state: state.into(),
            license_id: "7f3c9a52-1f0e-4b1e-9c55-0d2f6a3b8e41".into(),
            ..Default::default()
        }
    };
    let acknowledged = v1::UsageFile {
        closed: at("2026-11-21T00:00:00Z"),
        uploaded: at("2026-11-21T00:01:08Z"),
        acknowledged: at("2026-11-21T00:01:10Z"),
        message: "the licensor has it and has signed for it".into(),
        sha256: "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752".into(),
        receipt: format!("/var/lib/leasehold/usage/receipts/{}.receipt", name(40, "20261120")),
        kept_until: at("2027-12-26T00:01:10Z"),
        ..file(40, "2026-11-20", 3_145_728, 313, 80_016, "acknowledged")
    };
    let closed = v1::UsageFile {
        closed: at("2026-11-22T00:00:00Z"),
        message: "whole, and waiting to go".into(),
        remedy: failure().remedy,
        due: at("2026-12-03T23:00:00Z"),
        due_day: "2026-12-04".into(),
        failure: Some(failure()),
        sha256: "fd61a03af4f77d870fc21e05e7e80678095c92d808cfb3b5c279ee04c74aca13".into(),
        ..file(41, "2026-11-21", 1_258_291, 129, 32_410, "closed")
    };
    let open = v1::UsageFile {
        message: "being written; it can go once it is closed, at 00:00 UTC or at the next start".into(),
        due: at("2026-12-03T23:00:00Z"),
        due_day: "2026-12-04".into(),
        ..file(42, "2026-11-22", 2_048, 3, 211, "open")
    };
    let refused = v1::UsageFile {
        closed: at("2026-11-20T00:00:00Z"),
        message: "not taken by the server; it stays here and is tried again".into(),
        remedy: refusal().remedy,
        due: at("2026-12-03T23:00:00Z"),
        due_day: "2026-12-04".into(),
        failure: Some(refusal()),
        sha256: "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8".into(),
        ..file(39, "2026-11-19", 1_048_576, 120, 30_008, "refused")
    };
    vec![refused, acknowledged, closed, open]
}

fn manifest(period: &str) -> v1::UsageManifest {
    let file = v1::UsageFile {
        name: closed_name(),
        bytes: CLOSED.len() as u64,
        sha256: Sha256::of(CLOSED).to_string(),
        ..files()[2].clone()
    };
    v1::UsageManifest {
        period: period.into(),
        from: at("2026-10-27T23:00:00Z"),
        until: at("2026-11-27T23:00:00Z"),
        due: at("2026-12-03T23:00:00Z"),
        first_day: "2026-10-28".into(),
        last_day: "2026-11-27".into(),
        due_day: "2026-12-04".into(),
        time_zone: "Europe/Berlin".into(),
        files: vec![file],
        gaps: if period == "2026-11" {
            vec![v1::UsageGap {
                kind: "period-not-over".into(),
                message:
                    "the period goes on: what is used until the end of 2026-11-27 is not in it; bundle it again after \
                          that"
                        .into(),
                file: String::new(),
            }]
        } else {
            Vec::new()
        },
        over: period != "2026-11",
        installation_id: "0123456789abcdef0123456789abcdef".into(),
    }
}

/// Answers for every call about usage.
pub(super) fn about_usage(script: &Script) {
    script.on(|_: v1::ListUsageRequest| {
        Ok(v1::ListUsageResponse { files: files(), next_page_token: String::new(), usage: Some(status()) })
    });
    script
        .on(|_: v1::SealUsageRequest| Ok(v1::SealUsageResponse { events: 12, message: "12 events are sealed".into() }));
    script.on(|_: v1::SendUsageRequest| {
        Ok(v1::SendUsageResponse {
            files: 2,
            left: 1,
            message: "1 of 2 files receipted by the licensor".into(),
            usage: Some(v1::UsageStatus {
                failure: None,
                notices: status().notices.split_off(1),
                deadlines: Vec::new(),
                ..status()
            }),
        })
    });
    script.on(|_: v1::VerifyUsageRequest| {
        Ok(v1::VerifyUsageResponse {
            files: 2,
            records: 316,
            installations: vec![v1::UsageStanding {
                installation_id: "0123456789abcdef0123456789abcdef".into(),
                first: 40,
                last: 42,
                files: 2,
                records: 3,
                signed_records: 1,
                end: "open".into(),
                head: "9f86d081884c7d65".into(),
            }],
            findings: vec![v1::UsageFinding {
                reason: "missing-segments".into(),
                file: name(41, "20261121"),
                installation_id: "0123456789abcdef0123456789abcdef".into(),
                segment: 41,
                message: format!(
                    "{}: The file is gone: the database knows it with 129 records, and the licensor has not signed for it. \
                     Copy the missing files from the server; where they are gone, tell the licensor.",
                    name(41, "20261121")
                ),
                ..Default::default()
            }],
            message: "compared with what the database knows, and with each other; no key was needed".into(),
        })
    });
    script.on(|request: v1::ExportUsageRequest| {
        let part = |part| v1::ExportUsageResponse { part: Some(part) };
        let mut parts = vec![part(Part::Manifest(manifest(&request.period)))];
        if !request.manifest_only {
            let pieces = CLOSED.chunks(100);
            let pieces = pieces.map(|bytes| v1::UsagePiece { name: closed_name(), bytes: bytes.to_vec() });
            parts.extend(pieces.map(|piece| part(Part::Piece(piece))));
        }
        Ok(parts)
    });
    script.on(|request: v1::TakeUsageReceiptRequest| {
        if request.content.starts_with(b"forged") {
            return refused(
                Code::FailedPrecondition,
                "RECEIPT_NOT_SIGNED",
                "a receipt came that the licensor did not sign: no signature of a key in the root",
                &[],
            );
        }
        let file = v1::UsageFile {
            state: "acknowledged".into(),
            acknowledged: at("2026-11-22T03:00:00Z"),
            due: None,
            due_day: String::new(),
            failure: None,
            remedy: String::new(),
            message: "the licensor has it and has signed for it".into(),
            ..files()[2].clone()
        };
        Ok(v1::TakeUsageReceiptResponse {
            message: format!("the licensor has signed for {}", file.name),
            file: Some(file),
        })
    });
    script.on(|_: v1::DoctorRequest| {
        let step = |name: &str, title: &str, state: &str, message: &str| v1::DoctorStep {
            name: name.into(),
            title: title.into(),
            state: state.into(),
            message: message.into(),
            ms: if state == "passed" { 3 } else { 0 },
            ..Default::default()
        };
        let failed = v1::DoctorStep {
            code: failure().code,
            remedy: failure().remedy,
            ..step("proxy", "the proxy lets through", "failed", &failure().message)
        };
        Ok(v1::DoctorResponse {
            destination: "https://usage.licensor.example".into(),
            proxy: "http://proxy.acme.example:3128".into(),
            steps: vec![
                step("configuration", "what is configured can be used", "passed", "https://usage.licensor.example"),
                step("name", "the name is found", "passed", "proxy.acme.example is 10.0.0.8"),
                step("connection", "a connection is made", "passed", "10.0.0.8:3128"),
                failed,
                step("tls", "the server's certificate is believed", "not-reached", ""),
                step("credentials", "the credentials are taken", "not-needed", "the endpoint wants none"),
            ],
            well: false,
            message: format!("usage files CANNOT go out (proxy): {}", failure().message),
        })
    });
}
