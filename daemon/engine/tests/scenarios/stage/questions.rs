//! Steps that ask and change nothing.

use super::*;

impl Stage {
    /// Questions that change nothing.
    pub(super) fn ask_about(&mut self, step: &str) -> String {
        let now = self.site.now();
        let engine = &self.site.engine;
        let mut words = Words::of(step);
        let result = match words.next() {
            "pool" => {
                let name: PoolName = words.next().parse().unwrap();
                let org = words.named("org");
                let pools = engine.pools(now, Some(&name.key), org).unwrap();
                let name =
                    PoolName { key: pools.first().map_or(name.key.clone(), |pool| pool.name.key.clone()), ..name };
                match pools.iter().find(|pool| pool.name == name) {
                    None => "no such pool".into(),
                    Some(pool) => {
                        let mut text = format!("{} of {}", pool.in_use, pool.capacity);
                        if pool.assigned > 0 {
                            text += &format!(", assigned {}", pool.assigned);
                        }
                        if pool.set_aside > 0 {
                            text += &format!(", set aside {}", pool.set_aside);
                        }
                        if pool.waiting > 0 {
                            text += &format!(", waiting {}", pool.waiting);
                        }
                        if !pool.message.is_empty() {
                            text += &format!("; {}", pool.message);
                        }
                        text
                    }
                }
            }
            "lease" => {
                let id = self.lease_of(words.next());
                let filter = LeaseFilter { after: id.0 - 1, limit: 1, ..LeaseFilter::default() };
                let held = engine.leases(now, &filter).unwrap();
                match held.first().filter(|held| held.lease.id == id) {
                    None => "not live".into(),
                    Some(held) => {
                        let mut text = told::lease(&held.lease);
                        if let Some((ends, why)) = held.lease.ends_in_ms {
                            text += &format!("; ends in {} {}", leasehold_engine::words::duration(ends), why.as_str());
                        }
                        text
                    }
                }
            }
            "remedies" => {
                let id = self.lease_of(words.next());
                let filter = LeaseFilter { after: id.0 - 1, limit: 1, ..LeaseFilter::default() };
                for held in engine.leases(now, &filter).unwrap() {
                    self.lines.extend(held.lease.warnings.iter().map(leasehold_engine::row::Warning::message));
                    let told = held.lease.missing.iter().map(|(key, refusal)| format!("{key}: {}", refusal.message()));
                    self.lines.extend(told);
                }
                String::new()
            }
            "leases" => {
                let filter = LeaseFilter {
                    user: words.named("user").map(label),
                    station: words.named("station").map(label),
                    pool: words.named("pool").map(|pool| pool.parse().unwrap()),
                    application: words.named("app").map(label),
                    holder: words.named("holder").map(str::to_string),
                    after: 0,
                    limit: 1_000,
                };
                let held = engine.leases(now, &filter).unwrap();
                let names: Vec<String> = held.iter().map(|held| self.name_of(held.lease.id)).collect();
                if names.is_empty() { "none".into() } else { names.join(" ") }
            }
            "shares" => {
                for share in engine.shares(None) {
                    let holder = match &share.holder {
                        ShareName::Organization(name) | ShareName::Application(name) => name,
                    };
                    let limit = share.limit.map_or("-".to_string(), |limit| limit.to_string());
                    let line = format!(
                        "{} {holder}: {} used, reserve {}, limit {limit}",
                        share.pool, share.in_use, share.reserve
                    );
                    self.lines.push(line);
                }
                String::new()
            }
            "user-keys" | "station-keys" => {
                let kind = step.split('-').next().unwrap();
                let name = words.next();
                let name = if kind == "user" { support::user(name) } else { support::station(name) };
                let assignments = match engine.entity(now, &name).unwrap() {
                    leasehold_engine::view::EntityView::User { assignments, .. }
                    | leasehold_engine::view::EntityView::Station { assignments, .. } => assignments,
                    other => panic!("{other:?}"),
                };
                let told: Vec<String> = assignments
                    .iter()
                    .map(|row| if row.inactive.is_some() { format!("({})", row.pool) } else { row.pool.to_string() })
                    .collect();
                if told.is_empty() { "none".into() } else { told.join(" ") }
            }
            "licensed" => {
                let keys: Vec<KeyName> = words.plain.drain(..).map(|key| key.parse().unwrap()).collect();
                let views = engine.site_keys(now, &keys);
                match views {
                    Err(refusal) => told::refused(&refusal),
                    Ok(views) => {
                        let told: Vec<String> = views
                            .iter()
                            .map(|view| match view.licensed {
                                true => format!("{} yes {}", view.key, view.units),
                                false => format!("{} no: {}", view.key, view.reason),
                            })
                            .collect();
                        told.join("; ")
                    }
                }
            }
            "may-install" => {
                let release = now.wall.plus_ms(signed_ms(words.next()));
                let view = engine.may_install(now, release);
                format!("{}: {}", if view.may_install { "yes" } else { "no" }, view.reason)
            }
            "entitled" => {
                let keys: Vec<KeyName> = list(words.next()).iter().map(|key| key.as_str().parse().unwrap()).collect();
                let subject = entity_name(&mut words);
                let query = EntitlementQuery { subjects: vec![subject], keys };
                match engine.entitlements(now, &query) {
                    Err(refusal) => told::refused(&refusal),
                    Ok(views) => match &views[0].keys {
                        Err(refusal) => told::refused(refusal),
                        Ok(keys) => keys
                            .iter()
                            .map(|key| {
                                let mut text = format!("{} {} of {}", key.key, key.holding, key.members);
                                if !key.reason.is_empty() {
                                    text += &format!(" ({})", key.reason);
                                }
                                text
                            })
                            .collect::<Vec<_>>()
                            .join("; "),
                    },
                }
            }
            "why" => self.last_refusal.as_ref().map_or("nothing was refused".into(), Refusal::message),
            "retry" => match self.last_refusal.as_ref().and_then(Refusal::retry_after_ms) {
                None => "unknown".into(),
                Some(ms) => format!("{ms} ms"),
            },
            "denials" => {
                for row in Site::every_row(&self.site.changes) {
                    if let Row::Denial(row) = row {
                        self.lines.push(format!(
                            "{} x{} {} {} {}; held {}",
                            row.reason, row.count, row.identity, row.subject, row.key, row.held
                        ));
                    }
                }
                String::new()
            }
            "audit" => {
                for row in Site::every_row(&self.site.changes) {
                    if let Row::Audit(row) = row {
                        self.lines.push(format!("{} {} {} {}", row.identity, row.action, row.subject, row.reason));
                    }
                }
                String::new()
            }
            "status" => {
                let status = engine.status(now);
                for (reason, sentence) in &status.notices {
                    self.lines.push(format!("{reason} {sentence}"));
                }
                format!("{:?}", status.state).to_lowercase()
            }
            "licenses" => {
                for view in engine.licenses(now) {
                    self.lines.push(format!("{} {}", view.file_name, view.state));
                }
                String::new()
            }
            // How many of each sort are remembered, where there are any.
            "sizes" => {
                let sizes = engine.sizes().into_iter().filter(|(_, count)| *count > 0);
                let told: Vec<String> = sizes.map(|(what, count)| format!("{count} {what}")).collect();
                if told.is_empty() { "nothing".into() } else { told.join(", ") }
            }
            "compliance" => {
                let (_, exceeded) = engine.compliance();
                let told: Vec<String> =
                    exceeded.iter().map(|one| format!("{} {} of {}", one.pool, one.used, one.licensed)).collect();
                if told.is_empty() { "nothing exceeded".into() } else { told.join(", ") }
            }
            other => panic!("`{other}` is no step"),
        };
        words.end();
        result
    }
}
