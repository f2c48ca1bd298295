//! What a signed file says, for people and as JSON. `show` asks nobody who signed it and says so; `verify` does.

use std::path::Path;

use leasehold_keys::{
    activation::{Activation, HostRole, Model, Units},
    check_in::CheckInRequest,
    note::{Note, NoteKind},
    receipt::DeactivationReceipt,
    request::HostRequest,
    root::Root,
    time::WallTime,
    trust::{Trust, Verified},
};
use licensor::{
    order::{kind_word, level_word},
    workshop::Workshop,
};
use serde_json::{Value, json};

use super::{
    exit::{Exit, Fault},
    print_json,
    table::Table,
};

/// Shows a file without asking who signed it.
pub(super) fn unverified(bytes: &[u8], json: bool) -> Result<(), Fault> {
    let note = Note::parse(bytes)?;
    let names: Vec<_> = note.signatures.iter().map(|signature| signature.name.to_owned()).collect();
    let note_kind = kind(bytes)?;
    let value = match note_kind {
        NoteKind::Activation => {
            let activation = Activation::read_unverified(bytes)?;
            if !json {
                print_activation(&activation);
            }
            activation_json(&activation)
        }
        NoteKind::Root => {
            let root = Root::parse(note.text)?;
            if !json {
                print_root(&root);
            }
            root_json(&root)
        }
        NoteKind::Request => {
            let request = HostRequest::parse(note.text)?;
            if !json {
                print_request(&request);
            }
            request_json(&request)
        }
        NoteKind::DeactivationReceipt
        | NoteKind::UsageReceipt
        | NoteKind::CheckInRequest
        | NoteKind::CheckInAnswer
        | NoteKind::Time => {
            if !json {
                say_part!("{}", note.text);
            }
            text_json(note.text, note_kind)
        }
    };
    if json {
        return tell_json(value, false, &names);
    }
    say!("Signatures, NOT VERIFIED (`licensor verify` does): {}", names.join(", "));
    Ok(())
}

/// Verifies a file by `roots`, else by those of the licensor's folder, and shows it.
pub(super) fn verified(bytes: &[u8], roots: &[Vec<u8>], dir: &Path, now: WallTime, json: bool) -> Result<(), Fault> {
    let kind = kind(bytes)?;
    match kind {
        NoteKind::Activation => {
            let trust = trust(roots, dir)?;
            let file = trust.activation(bytes, now)?;
            if json {
                return tell_json(activation_json(&file), true, file.signed_by());
            }
            print_activation(&file);
            say!("{}", signers_line(file.signed_by(), Some(trust.root().version)));
        }
        NoteKind::Root => {
            // Without another root to vouch for it, a root can only be held against its own keys.
            let trust = match roots {
                [] => Trust::anchored(bytes)?,
                roots => Trust::from_chain(roots)?.succeed(bytes)?,
            };
            if json {
                return tell_json(root_json(trust.root()), true, trust.root().signed_by());
            }
            print_root(trust.root());
            say!("{}", signers_line(trust.root().signed_by(), None));
            if roots.is_empty() {
                say!(
                    "It is signed by its own keys; that it is the licensor's root, only its SHA-256 from another source can tell:"
                );
                say!("  {}", trust.root().sha256());
            }
        }
        NoteKind::Request => {
            let request = HostRequest::verify(bytes)?;
            if json {
                return tell_json(request_json(&request), true, request.signed_by());
            }
            print_request(&request);
            say!("Verified: signed by the installation that it names.");
        }
        NoteKind::DeactivationReceipt => {
            let receipt = receipt(bytes, dir)?;
            if json {
                return tell_json(receipt_json(&receipt), true, receipt.signed_by());
            }
            say!("Deactivation receipt");
            say!("  license       {}, closed by file {}", receipt.license_id, receipt.sequence);
            say!("  installation  {}", receipt.installation_id);
            say!("  closed        {}", receipt.closed);
            say!("Verified: signed by that installation. `licensor receipt FILE` takes it into the records.");
        }
        NoteKind::UsageReceipt => {
            let trust = trust(roots, dir)?;
            let receipt = trust.usage_receipt(bytes, now)?;
            if json {
                let text = receipt.render();
                return tell_json(text_json(&text, kind), true, receipt.signed_by());
            }
            say!("Usage receipt");
            say!("  license       {}", receipt.license_id);
            say!("  file          {}, {} bytes", receipt.name, receipt.size);
            say!("  SHA-256       {}", receipt.sha256);
            say!("  received      {}", receipt.received);
            say!("{}", signers_line(receipt.signed_by(), Some(trust.root().version)));
        }
        NoteKind::CheckInRequest => {
            let request = CheckInRequest::verify(bytes)?;
            let text = request.render();
            if json {
                return tell_json(text_json(&text, kind), true, request.signed_by());
            }
            say_part!("{text}");
            say!("Verified: signed by the installation that it names. `licensor check-in answer` answers it.");
        }
        NoteKind::CheckInAnswer => {
            let trust = trust(roots, dir)?;
            let answer = trust.check_in_answer(bytes, now)?;
            let text = answer.render();
            if json {
                return tell_json(text_json(&text, kind), true, answer.signed_by());
            }
            say_part!("{text}");
            say!("{}", signers_line(answer.signed_by(), Some(trust.root().version)));
        }
        NoteKind::Time => {
            let trust = trust(roots, dir)?;
            let note = trust.time_note(bytes, now)?;
            if json {
                return tell_json(text_json(&note.render(), kind), true, note.signed_by());
            }
            say!("Time note: it was {} or later when this was signed.", note.time);
            say!("{}", signers_line(note.signed_by(), Some(trust.root().version)));
        }
    }
    Ok(())
}

/// Shows a root that is believed.
pub(super) fn root(root: &Verified<Root>, json: bool) {
    if json {
        let mut value = root_json(root);
        value["sha256"] = json!(root.sha256().to_string());
        return print_json(&value);
    }
    print_root(root);
    say!("  SHA-256       {}", root.sha256());
}

fn kind(bytes: &[u8]) -> Result<NoteKind, Fault> {
    // The shape first: what is wrong with it says more than that its kind is unknown.
    Note::parse(bytes)?;
    NoteKind::claimed(bytes).ok_or_else(|| {
        Fault::new(
            Exit::Refused,
            "this is a signed note, but no activation file, root, host request, receipt, check-in or time note",
        )
    })
}

fn trust(roots: &[Vec<u8>], dir: &Path) -> Result<Trust, Fault> {
    if !roots.is_empty() {
        return Ok(Trust::from_chain(roots)?);
    }
    match Workshop::open(dir, None) {
        Ok(workshop) => Ok(workshop.trust().clone()),
        Err(licensor::workshop::WorkshopFault::NoWorkshop(_)) => Err(Fault::new(
            Exit::Usage,
            "no root to verify by; name one with --root, or a licensor's folder with --dir",
        )),
        Err(fault) => Err(fault.into()),
    }
}

fn receipt(bytes: &[u8], dir: &Path) -> Result<Verified<DeactivationReceipt>, Fault> {
    Ok(Workshop::open(dir, None)?.verify_receipt(bytes)?)
}

fn tell_json(mut value: Value, verified: bool, names: &[String]) -> Result<(), Fault> {
    value["verified"] = json!(verified);
    value["signed-by"] = json!(names);
    print_json(&value);
    Ok(())
}

pub(super) fn signers_line(names: &[String], root: Option<u32>) -> String {
    let root = root.map_or(String::new(), |version| format!(", by root {version}"));
    format!("Verified: signed by {}{root}.", names.join(", "))
}

/// The date alone where the time is midnight UTC.
pub(super) fn date(time: WallTime) -> String {
    let text = time.to_string();
    text.strip_suffix("T00:00:00Z").map_or(text.clone(), str::to_owned)
}

const fn model_word(model: Model) -> &'static str {
    match model {
        Model::Perpetual => "perpetual",
        Model::Subscription => "subscription",
        Model::Mixed => "mixed",
    }
}

const fn role_word(role: HostRole) -> &'static str {
    match role {
        HostRole::Primary => "primary",
        HostRole::Switchover => "switchover",
    }
}

pub(super) fn print_activation(file: &Activation) {
    let closing = if file.is_deactivation() { ": CLOSES THE LICENSE" } else { "" };
    say!("Activation file{closing}");
    let mut table = Table::new(&[]);
    let mut line = |field: &str, value: String| table.row([format!("  {field}"), value]);
    line("license", format!("{}, file {}", file.license_id, file.sequence));
    for superseded in &file.supersedes {
        line("supersedes", format!("{}, files up to {}", superseded.license_id, superseded.sequence));
    }
    line("account", format!("{}, site {}", file.account, file.install_site));
    line("product", format!("{} ({}), versions {}", file.product, file.product_line, file.versions));
    line("terms", format!("{}, {}, {}", level_word(file.level), model_word(file.model), kind_word(file.kind)));
    line("issued", file.issued.to_string());
    line("counts", format!("{} to {}", date(file.not_before), date(file.not_after)));
    let dates = [
        ("maintenance", file.maintenance_end, "until "),
        ("re-register", file.re_register, "after "),
        ("enforcement", file.ramp, "from "),
    ];
    for (field, time, word) in dates {
        if let Some(time) = time {
            let grace = file
                .grace_days
                .filter(|_| field == "enforcement")
                .map_or(String::new(), |days| format!(", {days} days a stage"));
            line(field, format!("{word}{}{grace}", date(time)));
        }
    }
    let texts = [
        ("system type", file.system_type.as_ref().map(ToString::to_string)),
        ("companion of", file.companion_of.as_ref().map(ToString::to_string)),
        ("check-in", file.check_in_endpoint.clone()),
        ("usage to", file.usage_destination.clone()),
    ];
    for (field, text) in texts {
        if let Some(text) = text {
            line(field, text);
        }
    }
    for host in &file.hosts {
        let name = host.machine_name.as_ref().map_or(String::new(), |name| format!("{name}, "));
        line(role_word(host.role), format!("{name}{} of 5 factors of {}", host.need, short_host(&host.id.to_string())));
    }
    if file.hosts.is_empty() {
        line("hosts", "none: runs anywhere".to_owned());
    }
    line("catalog", format!("version {}; needs root {}", file.catalog_version, file.root_version));
    say_part!("{table}");
    if !file.parts.is_empty() {
        say!("Parts ordered");
        let mut table = Table::new(&[]);
        for part in &file.parts {
            table.row([
                format!("  {}", part.number),
                part.description.to_string(),
                format!("{} assigned, {} pooled", part.assigned, part.pooled),
            ]);
        }
        say_part!("{table}");
    }
    if !file.grants.is_empty() {
        say!("Grants");
        let mut table = Table::new(&[]);
        for grant in &file.grants {
            let title = file
                .definitions
                .iter()
                .find(|key| key.name == grant.pool.key)
                .map_or(String::new(), |key| key.title.to_string());
            table.row([format!("  {}", grant.pool), grant.units.to_string(), title]);
        }
        say_part!("{table}");
    }
}

/// Enough of a host ID to know it again.
fn short_host(id: &str) -> String {
    let mut shown: String = id.chars().take(20).collect();
    if shown.len() < id.len() {
        shown.push('…');
    }
    shown
}

pub(super) fn activation_json(file: &Activation) -> Value {
    let grants: serde_json::Map<_, _> = file
        .grants
        .iter()
        .map(|grant| {
            let units = match grant.units {
                Units::Count(count) => json!(count),
                Units::Unlimited => json!("unlimited"),
            };
            (grant.pool.to_string(), units)
        })
        .collect();
    let hosts: Vec<_> = file
        .hosts
        .iter()
        .map(|host| {
            json!({
                "role": role_word(host.role), "id": host.id.to_string(), "need": host.need,
                "machine-name": host.machine_name.as_ref().map(ToString::to_string),
            })
        })
        .collect();
    let parts: Vec<_> = file
        .parts
        .iter()
        .map(|part| json!({
            "number": part.number.as_str(), "description": part.description.as_str(), "assigned": part.assigned, "pooled": part.pooled,
        }))
        .collect();
    let supersedes: Vec<_> = file
        .supersedes
        .iter()
        .map(|other| json!({ "license-id": other.license_id.to_string(), "sequence": other.sequence }))
        .collect();
    json!({
        "kind-of-note": "activation",
        "license-id": file.license_id.to_string(), "sequence": file.sequence, "supersedes": supersedes,
        "deactivation": file.is_deactivation(),
        "issued": file.issued.to_string(), "account": file.account.as_str(), "install-site": file.install_site.as_str(),
        "product": file.product.as_str(), "product-line": file.product_line.as_str(),
        "versions": { "from": file.versions.from.to_string(), "through": file.versions.through.to_string() },
        "model": model_word(file.model), "level": level_word(file.level), "kind": kind_word(file.kind),
        "system-type": file.system_type.as_ref().map(ToString::to_string),
        "companion-of": file.companion_of.as_ref().map(ToString::to_string),
        "not-before": file.not_before.to_string(), "not-after": file.not_after.to_string(),
        "maintenance-end": file.maintenance_end.map(|time| time.to_string()),
        "re-register": file.re_register.map(|time| time.to_string()),
        "ramp": file.ramp.map(|time| time.to_string()), "grace-days": file.grace_days,
        "check-in-endpoint": file.check_in_endpoint, "usage-destination": file.usage_destination,
        "hosts": hosts, "parts": parts, "grants": grants,
        "definitions": file.definitions.iter().map(|key| key.name.to_string()).collect::<Vec<_>>(),
        "catalog-version": file.catalog_version, "root-version": file.root_version,
    })
}

fn print_root(root: &Root) {
    say!("Root {}", root.version);
    say!("  expires       {}", root.expires);
    let needed = root.policy.root;
    let ml_dsa = if needed.ml_dsa_65 > 0 { format!(" and {} by ML-DSA-65", needed.ml_dsa_65) } else { String::new() };
    say!("  next root     needs {} signatures by Ed25519{ml_dsa}", needed.ed25519);
    let mut table = Table::new(&[]);
    for key in &root.root_keys {
        table.row([
            "  root".to_owned(),
            key.name().to_owned(),
            key.algorithm().to_string(),
            format!("key ID {:08x}", key.id()),
            String::new(),
        ]);
    }
    for key in &root.role_keys {
        let revoked =
            root.revoked_from(&key.key.sha256()).map_or(String::new(), |from| format!(", REVOKED from {from}"));
        table.row([
            format!("  {}", key.role),
            key.key.name().to_owned(),
            key.key.algorithm().to_string(),
            format!("key ID {:08x}", key.key.id()),
            format!("epoch {}, {} to {}{revoked}", key.epoch, date(key.not_before), date(key.not_after)),
        ]);
    }
    say_part!("{table}");
}

fn root_json(root: &Root) -> Value {
    let roles: Vec<_> = root
        .role_keys
        .iter()
        .map(|key| {
            json!({
                "role": key.role.to_string(), "key": key.key.to_string(), "epoch": key.epoch,
                "not-before": key.not_before.to_string(), "not-after": key.not_after.to_string(),
                "revoked-from": root.revoked_from(&key.key.sha256()).map(|time| time.to_string()),
            })
        })
        .collect();
    json!({
        "kind-of-note": "root", "version": root.version, "expires": root.expires.to_string(),
        "threshold": { "ed25519": root.policy.root.ed25519, "ml-dsa-65": root.policy.root.ml_dsa_65 },
        "root-keys": root.root_keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "role-keys": roles,
    })
}

fn print_request(request: &HostRequest) {
    say!("Host request");
    say!("  machine       {}", request.machine_name);
    if let Some(product) = &request.product {
        say!("  product       {product}");
    }
    say!("  made          {}", request.created);
    say!("  installation  {}", request.installation_id());
    say!("  host ID       {}", request.host_id);
}

fn request_json(request: &HostRequest) -> Value {
    json!({
        "kind-of-note": "request", "machine-name": request.machine_name.as_str(),
        "product": request.product.as_ref().map(ToString::to_string), "created": request.created.to_string(),
        "installation-id": request.installation_id().to_string(), "host-id": request.host_id.to_string(),
    })
}

fn receipt_json(receipt: &DeactivationReceipt) -> Value {
    json!({
        "kind-of-note": "deactivation-receipt", "license-id": receipt.license_id.to_string(), "sequence": receipt.sequence,
        "sha256": receipt.sha256.to_string(), "installation-id": receipt.installation_id.to_string(),
        "closed": receipt.closed.to_string(),
    })
}

/// A receipt's fields as they stand, where its installation is not known.
fn text_json(text: &str, kind: NoteKind) -> Value {
    let fields: toml::Table = toml::from_str(text).unwrap_or_default();
    let mut value = json!(fields);
    let word = kind.format().strip_prefix("leasehold/").and_then(|format| format.strip_suffix("/1"));
    value["kind-of-note"] = json!(word);
    value
}
