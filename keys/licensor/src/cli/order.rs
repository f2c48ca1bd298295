//! From the texts of `licensor issue` to an order. Every text that cannot be read is told, not only the first.

use std::{collections::BTreeSet, fmt::Display, path::Path, str::FromStr};

use leasehold_keys::{
    activation::{FileKind, Grant, HostRole, LicenseId, Model, ProductVersion, Superseded, Units, VersionRange},
    name::{Label, PoolName},
    request::HostRequest,
    time::WallTime,
};
use licensor::{
    catalog::{Catalog, DevelopmentSize, PartUnits},
    order::{DevelopmentTerms, HostOrder, IssueOrder, OrderLevel},
    workshop::{Workshop, WorkshopFault},
};

use super::{
    args::Issue,
    exit::{Exit, Fault},
};

/// The order that the arguments mean. A re-issue is as before where they say nothing else; with a level, its terms are
/// given anew.
pub(crate) fn from_arguments(arguments: &Issue, catalog: &Catalog, workshop: &Workshop) -> Result<IssueOrder, Fault> {
    let mut texts = Texts::default();
    let license_id = arguments.license_id.as_deref().and_then(|text| texts.license_id("--license-id", text));
    let issued_by = texts.operator(arguments.issued_by.as_deref());
    let before = match (license_id, &issued_by) {
        (Some(id), Some(issued_by)) => Some(before(arguments, catalog, workshop, id, issued_by.clone())?),
        _ => None,
    };
    let account: Option<Label> = texts.optional("--account", arguments.account.as_deref());
    let site: Option<Label> = texts.optional("--site", arguments.site.as_deref());
    let supersedes: BTreeSet<Superseded> =
        arguments.supersedes.iter().filter_map(|text| texts.superseded(text, workshop)).collect();
    let hosts = texts.hosts(arguments);
    let level = texts.level(arguments);
    let models = [("perpetual", Model::Perpetual), ("subscription", Model::Subscription), ("mixed", Model::Mixed)];
    let kinds = [("base", FileKind::Base), ("add-on", FileKind::AddOn)];
    let model = arguments.model.as_deref().and_then(|text| texts.word("--model", text, &models));
    let kind = arguments.kind.as_deref().and_then(|text| texts.word("--kind", text, &kinds));
    let versions = arguments.versions.as_deref().and_then(|text| texts.versions(text));
    let parts: Vec<PartUnits> = arguments.part.iter().filter_map(|text| texts.part(text)).collect();
    let grants: Vec<Grant> = arguments.grant.iter().filter_map(|text| texts.grant(text)).collect();
    let server = texts.optional("--server", arguments.server.as_deref());
    let switchover_server = texts.optional("--switchover-server", arguments.switchover_server.as_deref());
    let system_type = texts.optional("--system-type", arguments.system_type.as_deref());
    let grace_days = texts.optional("--grace-days", arguments.grace_days.as_deref());
    let not_before = texts.date("--not-before", arguments.not_before.as_deref());
    let not_after = texts.date("--not-after", arguments.not_after.as_deref());
    let maintenance_end = texts.date("--maintenance-end", arguments.maintenance_end.as_deref());
    let re_register = texts.date("--re-register", arguments.re_register.as_deref());
    let ramp = texts.date("--ramp", arguments.ramp.as_deref());

    let order = match (before, account, site, issued_by) {
        (Some(before), account, site, _) => Some(IssueOrder {
            account: account.unwrap_or(before.account),
            install_site: site.unwrap_or(before.install_site),
            ..before
        }),
        (None, Some(account), Some(site), Some(issued_by)) => Some(IssueOrder::new(account, site, issued_by)),
        _ => None,
    };
    let Some(mut order) = order.filter(|_| texts.faults.is_empty()) else {
        return Err(Fault::usage(&texts.faults));
    };
    // What is granted is said as a whole or not at all, so that nobody adds a part to a number they do not see.
    if !parts.is_empty() || !grants.is_empty() || server.is_some() {
        order.parts = parts;
        order.grants = grants;
        order.server = server;
        order.switchover_server = None;
    }
    order.hosts.retain(|host| hosts.iter().all(|new| new.role != host.role));
    order.hosts.extend(hosts);
    order.supersedes.extend(supersedes);
    order.level = level.unwrap_or(order.level);
    order.model = model.unwrap_or(order.model);
    order.kind = kind.unwrap_or(order.kind);
    replace(&mut order.versions, versions);
    replace(&mut order.switchover_server, switchover_server);
    replace(&mut order.system_type, system_type);
    replace(&mut order.grace_days, grace_days.map(|Count(days)| days));
    replace(&mut order.not_before, not_before);
    replace(&mut order.not_after, not_after);
    replace(&mut order.maintenance_end, maintenance_end);
    replace(&mut order.re_register, re_register);
    replace(&mut order.ramp, ramp);
    replace(&mut order.check_in_endpoint, arguments.check_in_endpoint.clone());
    replace(&mut order.usage_destination, arguments.usage_destination.clone());
    Ok(order)
}

fn replace<T>(field: &mut Option<T>, given: Option<T>) {
    if given.is_some() {
        *field = given;
    }
}

/// What a re-issue begins with: the order of the file before, or its account and site alone where a level is given.
fn before(
    arguments: &Issue,
    catalog: &Catalog,
    workshop: &Workshop,
    license_id: LicenseId,
    issued_by: Label,
) -> Result<IssueOrder, Fault> {
    if arguments.level.is_none() {
        return Ok(workshop.order_before(catalog, license_id, issued_by)?);
    }
    let Some(file) = workshop.ledger().file(license_id, None)? else {
        return Err(WorkshopFault::UnknownLicense(license_id).into());
    };
    let label =
        |text: &str| text.parse::<Label>().map_err(|fault| Fault::new(Exit::Failed, format!("`{text}`: {fault}")));
    Ok(IssueOrder {
        license_id: Some(license_id),
        ..IssueOrder::new(label(&file.account)?, label(&file.install_site)?, issued_by)
    })
}

/// A count in plain decimal digits, as signed files write it: no sign, no leading zero.
struct Count(u32);

impl FromStr for Count {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        let count = text.parse().ok().filter(|_| plain).map(Self);
        count.ok_or("it is not a whole number of 0 to 4294967295")
    }
}

#[derive(Default)]
struct Texts {
    faults: Vec<String>,
}

impl Texts {
    fn note<T>(&mut self, option: &str, value: Result<T, impl Display>) -> Option<T> {
        value.map_err(|fault| self.faults.push(format!("{option}: {fault}"))).ok()
    }

    fn read<T: FromStr<Err: Display>>(&mut self, option: &str, text: &str) -> Option<T> {
        let value = text.parse::<T>().map_err(|fault| format!("`{text}`: {fault}"));
        self.note(option, value)
    }

    fn optional<T: FromStr<Err: Display>>(&mut self, option: &str, text: Option<&str>) -> Option<T> {
        text.and_then(|text| self.read(option, text))
    }

    fn word<T: Copy>(&mut self, option: &str, text: &str, words: &[(&str, T)]) -> Option<T> {
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.note(option, found.ok_or_else(|| format!("`{text}` is not one of {}", all.join(", "))))
    }

    fn operator(&mut self, named: Option<&str>) -> Option<Label> {
        let name = super::operator(named).map_err(|fault| self.faults.push(fault.message));
        name.ok()
    }

    fn license_id(&mut self, option: &str, text: &str) -> Option<LicenseId> {
        let id = super::license_id(text).map_err(|fault| fault.message);
        self.note(option, id)
    }

    fn date(&mut self, option: &str, text: Option<&str>) -> Option<WallTime> {
        let text = text?;
        let time = super::date(text);
        self.note(option, time)
    }

    fn superseded(&mut self, text: &str, workshop: &Workshop) -> Option<Superseded> {
        let (id, sequence) = match text.split_once('=') {
            Some((id, sequence)) => (id, Some(sequence)),
            None => (text, None),
        };
        let license_id = self.license_id("--supersedes", id)?;
        let sequence = match sequence {
            Some(sequence) => self.read::<Count>("--supersedes", sequence)?.0,
            None => self.note(
                "--supersedes",
                workshop
                    .last_sequence(license_id)
                    .map_err(|fault| format!("{fault}; or name its sequence as ID=SEQUENCE")),
            )?,
        };
        Some(Superseded { license_id, sequence })
    }

    fn level(&mut self, arguments: &Issue) -> Option<OrderLevel> {
        let development = |size| {
            let terms = match (&arguments.comes_with, arguments.partner) {
                (Some(item), _) => {
                    DevelopmentTerms::WithServer(item.parse().map_err(|fault| format!("--comes-with: {fault}"))?)
                }
                (None, true) => DevelopmentTerms::Partner,
                (None, false) => DevelopmentTerms::Ordered,
            };
            Ok::<_, String>(OrderLevel::Development { size, terms })
        };
        let Some(text) = arguments.level.as_deref() else {
            let idle = [
                ("--comes-with", arguments.comes_with.is_some()),
                ("--partner", arguments.partner),
                ("--evaluation", arguments.evaluation.is_some()),
            ];
            for (option, _) in idle.into_iter().filter(|(_, given)| *given) {
                self.faults.push(format!("{option} goes with a --level that it belongs to"));
            }
            return None;
        };
        let level = match text {
            "production" => Ok(OrderLevel::Production),
            "development-small" => development(DevelopmentSize::Small),
            "development-large" => development(DevelopmentSize::Large),
            "trial" => Ok(OrderLevel::Trial),
            "evaluation" => match arguments.evaluation.as_deref().map(str::parse).transpose() {
                Ok(configuration) => Ok(OrderLevel::Evaluation { configuration }),
                Err(fault) => Err(format!("--evaluation: {fault}")),
            },
            other => Err(format!(
                "`{other}` is not one of production, development-small, development-large, trial, evaluation"
            )),
        };
        let level = self.note("--level", level)?;
        if !matches!(level, OrderLevel::Development { .. }) && (arguments.comes_with.is_some() || arguments.partner) {
            self.faults.push("--comes-with and --partner go with a development level only".to_owned());
        }
        if !matches!(level, OrderLevel::Evaluation { .. }) && arguments.evaluation.is_some() {
            self.faults.push("--evaluation goes with --level evaluation only".to_owned());
        }
        Some(level)
    }

    fn versions(&mut self, text: &str) -> Option<VersionRange> {
        let Some((from, through)) = text.split_once("..") else {
            self.faults.push(format!("--versions: `{text}` is not two versions like 4.0..2020.2"));
            return None;
        };
        let from: Option<ProductVersion> = self.read("--versions", from);
        let through = self.read("--versions", through);
        Some(VersionRange { from: from?, through: through? })
    }

    fn part(&mut self, text: &str) -> Option<PartUnits> {
        let shape = || format!("`{text}` is not a part with its units like SW-001-4.0-AL04=5,25 (assigned, pooled)");
        let units = |text: &str| text.parse().ok().map(|Count(units)| units);
        let part = text.rsplit_once('=').and_then(|(number, both)| {
            let (assigned, pooled) = both.split_once(',').unwrap_or((both, "0"));
            Some((number.parse::<Label>().ok()?, units(assigned)?, units(pooled)?))
        });
        let (number, assigned, pooled) = self.note("--part", part.ok_or_else(shape))?;
        Some(PartUnits { number, assigned, pooled })
    }

    fn grant(&mut self, text: &str) -> Option<Grant> {
        let Some((pool, units)) = text.split_once('=') else {
            self.faults.push(format!("--grant: `{text}` is not a pool with its units like I3_SESSION_CALL=100"));
            return None;
        };
        let pool: Option<PoolName> = self.read("--grant", pool);
        let units = match units {
            "unlimited" => Some(Units::Unlimited),
            units => {
                let count = units.parse().map(|Count(count)| Units::Count(count));
                self.note(
                    "--grant",
                    count.map_err(|_| format!("`{units}` is not a count of 1 to 4294967295, nor `unlimited`")),
                )
            }
        };
        Some(Grant { pool: pool?, units: units? })
    }

    fn hosts(&mut self, arguments: &Issue) -> Vec<HostOrder> {
        let need = self.optional("--need", arguments.need.as_deref());
        let need = need.map(|Count(need)| u8::try_from(need).unwrap_or(u8::MAX));
        let machines = [
            (HostRole::Primary, "", &arguments.host, &arguments.request, &arguments.machine_name),
            (
                HostRole::Switchover,
                "switchover-",
                &arguments.switchover_host,
                &arguments.switchover_request,
                &arguments.switchover_machine_name,
            ),
        ];
        let mut hosts = Vec::new();
        for (role, prefix, typed, request, name) in machines {
            let host = match (typed, request) {
                (Some(text), _) => {
                    self.note(&format!("--{prefix}host"), text.parse()).map(|id| HostOrder::typed(role, id))
                }
                (None, Some(path)) => self
                    .note(&format!("--{prefix}request"), read_request(path))
                    .map(|request| HostOrder::requested(role, &request)),
                (None, None) => None,
            };
            let name: Option<Label> = self.optional(&format!("--{prefix}machine-name"), name.as_deref());
            if let Some(host) = host {
                let machine_name = name.or(host.machine_name.clone());
                hosts.push(HostOrder { need: need.unwrap_or(host.need), machine_name, ..host });
            }
        }
        hosts
    }
}

fn read_request(path: &Path) -> Result<HostRequest, String> {
    let bytes = super::read(path).map_err(|fault| fault.message)?;
    let request = HostRequest::verify(&bytes).map_err(|fault| format!("{}: {fault}", path.display()))?;
    Ok(request.into_inner())
}
