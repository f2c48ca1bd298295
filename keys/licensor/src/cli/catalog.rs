//! `licensor catalog`: what can be issued, and what is wrong with a catalog.

use std::{fs, path::Path};

use leasehold_keys::definition::{Billing, Holder, KeyDefinition, KeyKind};
use licensor::{catalog::Catalog, order::level_word};
use serde_json::json;

use super::{
    args::CatalogCommand,
    exit::{Exit, Fault},
    print_json,
    table::Table,
};

pub(super) fn run(command: &CatalogCommand, json: bool) -> Result<(), Fault> {
    match command {
        CatalogCommand::List => list(json),
        CatalogCommand::Show { catalog } => show(&find(catalog)?, json),
        CatalogCommand::Check { file } => {
            let catalog = read(file)?;
            let (keys, parts) = (catalog.keys().count(), catalog.parts().len());
            if json {
                print_json(&json!({ "product": catalog.product().as_str(), "keys": keys, "parts": parts }));
            } else {
                say!(
                    "{} is good: {} version {}, {keys} keys, {parts} parts.",
                    file.display(),
                    catalog.product(),
                    catalog.version()
                );
            }
        }
    }
    Ok(())
}

/// A built-in catalog by its product, or a file.
pub(super) fn find(name: &str) -> Result<Catalog, Fault> {
    let shipped = Catalog::all_shipped();
    if let Some(catalog) = shipped.iter().find(|catalog| catalog.product().as_str().eq_ignore_ascii_case(name)) {
        return Ok(catalog.clone());
    }
    let path = Path::new(name);
    if path.exists() {
        return read(path);
    }
    let products: Vec<_> = shipped.iter().map(|catalog| format!("`{}`", catalog.product())).collect();
    Err(Fault::new(
        Exit::NotFound,
        format!("there is no built-in catalog and no file `{name}`; built in are {}", products.join(", ")),
    ))
}

fn read(path: &Path) -> Result<Catalog, Fault> {
    let unreadable = |fault: std::io::Error| {
        let exit = if fault.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
        Fault::new(exit, format!("{}: {fault}", path.display()))
    };
    // A pipe would be waited for.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Fault::new(Exit::Failed, format!("{} is no file", path.display())));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    Catalog::parse(&text).map_err(|faults| {
        let lines: String = faults.iter().map(|fault| format!("\n  - {fault}")).collect();
        let count = match faults.len() {
            1 => "1 fault".to_owned(),
            count => format!("{count} faults"),
        };
        Fault::new(Exit::Refused, format!("{} has {count}:{lines}", path.display()))
    })
}

fn list(json: bool) {
    let all = Catalog::all_shipped();
    let levels = |catalog: &Catalog| catalog.levels().iter().map(|level| level_word(*level)).collect::<Vec<_>>();
    if json {
        let rows: Vec<_> = all
            .iter()
            .map(|catalog| {
                json!({
                    "product": catalog.product().as_str(), "product-line": catalog.product_line().as_str(),
                    "version": catalog.version(), "keys": catalog.keys().count(), "parts": catalog.parts().len(),
                    "levels": levels(catalog),
                })
            })
            .collect();
        return print_json(&json!(rows));
    }
    let mut table = Table::new(&["PRODUCT", "PRODUCT LINE", "VERSION", "KEYS", "PARTS", "LEVELS"]);
    for catalog in &all {
        table.row([
            catalog.product().to_string(),
            catalog.product_line().to_string(),
            catalog.version().to_string(),
            catalog.keys().count().to_string(),
            catalog.parts().len().to_string(),
            levels(catalog).join(", "),
        ]);
    }
    say_part!("{table}");
}

fn show(catalog: &Catalog, json: bool) {
    if json {
        return print_json(&as_json(catalog));
    }
    say!(
        "{} ({}), catalog version {}, product versions {}",
        catalog.product(),
        catalog.product_line(),
        catalog.version(),
        catalog.versions()
    );
    if !catalog.server_items().is_empty() {
        say!("\nServer items");
        let mut table = Table::new(&[]);
        for (name, item) in catalog.server_items() {
            let development =
                item.development.map_or(String::new(), |size| format!("with a {size} development license"));
            table.row([format!("  {name}"), item.title.to_string(), development]);
        }
        say_part!("{table}");
    }
    if !catalog.evaluations().is_empty() {
        say!("\nEvaluation configurations");
        let mut table = Table::new(&[]);
        for (name, evaluation) in catalog.evaluations() {
            table.row([format!("  {name}"), evaluation.title.to_string(), format!("{} days", evaluation.days)]);
        }
        say_part!("{table}");
    }
    if !catalog.parts().is_empty() {
        say!("\nParts");
        for (number, part) in catalog.parts() {
            say!("  {number}  {}", part.description);
            for (way, pools) in [("assigned", &part.assigned), ("pooled", &part.pooled)] {
                let pools: Vec<_> = pools.iter().map(|(pool, units)| format!("{pool} {units}")).collect();
                if !pools.is_empty() {
                    say!("    1 {way:<8} = {}", pools.join(", "));
                }
            }
        }
    }
    for kind in
        [KeyKind::Access, KeyKind::Server, KeyKind::Feature, KeyKind::Session, KeyKind::Engine, KeyKind::Hardware]
    {
        let keys: Vec<_> = catalog.keys().filter(|key| key.kind == kind).collect();
        if keys.is_empty() {
            continue;
        }
        say!("\nKeys: {}", word(kind));
        let mut table = Table::new(&[]);
        for key in keys {
            table.row([format!("  {}", key.name), key.title.to_string(), notes(key).join("; ")]);
        }
        say_part!("{table}");
    }
}

const fn word(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Server => "server",
        KeyKind::Access => "access",
        KeyKind::Feature => "feature",
        KeyKind::Engine => "engine",
        KeyKind::Session => "session",
        KeyKind::Hardware => "hardware",
    }
}

/// What is out of the ordinary of a key.
fn notes(key: &KeyDefinition) -> Vec<String> {
    let names = |names: &std::collections::BTreeSet<leasehold_keys::name::KeyName>| {
        names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>().join(", ")
    };
    let mut notes = Vec::new();
    let holders: Vec<_> = key.holders.iter().map(|holder| holder_word(*holder)).collect();
    if key.kind == KeyKind::Access && holders.len() == 1 {
        notes.push(format!("{} only", holders.join(", ")));
    }
    match &key.billing {
        Billing::None => {}
        Billing::BusinessUser => notes.push("bills business user".to_owned()),
        Billing::Agent => notes.push("bills agent".to_owned()),
        Billing::AddOn(category) => notes.push(format!("bills agent and {category}")),
    }
    for (verb, list) in
        [("includes", &key.includes), ("requires", &key.requires), ("replaces", &key.replaces), ("also", &key.aliases)]
    {
        if !list.is_empty() {
            notes.push(format!("{verb} {}", names(list)));
        }
    }
    if key.call_port {
        notes.push("call port".to_owned());
    }
    notes
}

const fn holder_word(holder: Holder) -> &'static str {
    match holder {
        Holder::User => "user",
        Holder::Station => "station",
        Holder::Server => "server",
    }
}

fn as_json(catalog: &Catalog) -> serde_json::Value {
    let pools = |pools: &std::collections::BTreeMap<leasehold_keys::name::PoolName, u32>| {
        pools.iter().map(|(pool, units)| (pool.to_string(), json!(units))).collect::<serde_json::Map<_, _>>()
    };
    let parts: serde_json::Map<_, _> = catalog
        .parts()
        .iter()
        .map(|(number, part)| {
            let value = json!({
                "description": part.description.as_str(), "assigned": pools(&part.assigned), "pooled": pools(&part.pooled),
            });
            (number.to_string(), value)
        })
        .collect();
    let keys: Vec<_> = catalog
        .keys()
        .map(|key| {
            json!({
                "name": key.name.as_str(), "title": key.title.as_str(), "kind": word(key.kind),
                "holders": key.holders.iter().map(|holder| holder_word(*holder)).collect::<Vec<_>>(),
                "notes": notes(key),
            })
        })
        .collect();
    json!({
        "product": catalog.product().as_str(), "product-line": catalog.product_line().as_str(), "version": catalog.version(),
        "server-items": catalog.server_items().keys().map(|name| name.as_str()).collect::<Vec<_>>(),
        "evaluations": catalog.evaluations().keys().map(|name| name.as_str()).collect::<Vec<_>>(),
        "parts": parts, "keys": keys,
    })
}
