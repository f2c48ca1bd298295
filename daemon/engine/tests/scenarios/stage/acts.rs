//! Steps of administrators, and files.

use super::*;

impl Stage {
    pub(super) fn folder(&mut self) -> String {
        let folder = self.site.folder.clone();
        self.run(Command::Folder(folder))
    }

    pub(super) fn file(&mut self, name: &str, words: &mut Words<'_>, grants: &str) -> String {
        let grants: Vec<_> =
            grants.split(',').map(str::trim).filter(|text| !text.is_empty()).map(files::grant).collect();
        let mut terms = files::base(&grants);
        let wall = self.site.now().wall;
        let at = |text: &str| wall.plus_ms(signed_ms(text));
        if let Some(number) = words.named("license") {
            terms.license_id = files::license(number.parse().unwrap());
        }
        if let Some(sequence) = words.named("seq") {
            terms.sequence = sequence.parse().unwrap();
        }
        if let Some(level) = words.named("level") {
            terms.level = match level {
                "production" => Level::Production,
                "development" => Level::Development,
                "trial" => Level::Trial,
                "evaluation" => Level::Evaluation,
                other => panic!("`{other}` is no level"),
            };
        }
        if words.has("add-on") {
            terms.kind = FileKind::AddOn;
        }
        if let Some(product) = words.named("product") {
            terms.product = label(product);
        }
        terms.companion_of = words.named("companion").map(label);
        if let Some(from) = words.named("begins") {
            terms.not_before = at(from);
        }
        if let Some(until) = words.named("ends") {
            terms.not_after = at(until);
        }
        if let Some(issued) = words.named("issued") {
            terms.issued = at(issued);
            terms.not_before = terms.not_before.min(at(issued));
        }
        terms.maintenance_end = words.named("maintenance").map(at);
        terms.re_register = words.named("re-register").map(at);
        if let Some(versions) = words.named("versions") {
            let (from, through) = versions.split_once('-').unwrap();
            terms.versions = VersionRange { from: from.parse().unwrap(), through: through.parse().unwrap() };
        }
        if let Some(old) = words.named("supersedes") {
            let (license, sequence) = old.split_once('/').unwrap();
            terms.supersedes.insert(Superseded {
                license_id: files::license(license.parse().unwrap()),
                sequence: sequence.parse().unwrap(),
            });
        }
        if let Some(version) = words.named("catalog") {
            terms.catalog_version = version.parse().unwrap();
        }
        // A changed definition: `without=TRACKER:includes` and the like are spelled as what a test needs.
        if let Some(key) = words.named("tracker-for") {
            for def in terms.definitions.iter_mut().filter(|def| def.name.as_str() == "TRACKER") {
                def.holders = match key {
                    "user" => [leasehold_keys::definition::Holder::User].into(),
                    "station" => [leasehold_keys::definition::Holder::Station].into(),
                    other => panic!("`{other}` holds nothing"),
                };
            }
        }
        if let Some(account) = words.named("account") {
            terms.account = label(account);
        }
        terms.model = Model::Subscription;
        let finding = words.named("host").map_or(HostFinding::Primary, host);
        if finding == HostFinding::Unbound {
            terms.hosts.clear();
        }
        let reply = self.site.drop_file(name, &terms, finding);
        self.replied(Ok(Reply::Folder(reply)))
    }

    pub(super) fn create(&mut self, text: &str) -> String {
        let mut words = Words::of(text);
        let kind = words.next();
        let names: Vec<Label> = list(words.next());
        let mut result = String::new();
        let method = if kind == "user" { Some(method(words.next())) } else { None };
        let station = if kind == "station" { Some(station_kind(words.next())) } else { None };
        let organization = words.named("org").map(label);
        let workgroups = words.named("workgroups").map_or(Vec::new(), list);
        let types = words.named("types").map_or(Vec::new(), list);
        let owner = words.named("owner").map(label);
        let parent = words.named("under").map(label);
        let enabled = !words.has("disabled");
        words.end();
        for name in names {
            let entity = match kind {
                "user" => Entity::User {
                    name,
                    display_name: None,
                    method: method.unwrap(),
                    organization: organization.clone(),
                    workgroups: workgroups.clone(),
                    types: types.clone(),
                },
                "station" => Entity::Station {
                    name,
                    kind: station.unwrap(),
                    enabled,
                    organization: organization.clone(),
                    owner: owner.clone(),
                },
                "workgroup" => Entity::Workgroup { name, service_id: None, types: types.clone() },
                _ => Entity::Organization { name, parent: parent.clone() },
            };
            result = self.act(Act::Create(entity));
        }
        result
    }

    pub(super) fn change(&mut self, text: &str) -> String {
        let mut words = Words::of(text.trim_start_matches("set "));
        let kind = words.next();
        let name = label(words.next());
        let optional = |text: &str| (text != "none").then(|| label(text));
        let change = match kind {
            "user" => EntityChange::User {
                name,
                display_name: None,
                method: words.named("method").map(method),
                organization: words.named("org").map(optional),
                workgroups: words.named("workgroups").map(list),
                types: words.named("types").map(list),
            },
            "station" => EntityChange::Station {
                name,
                kind: words.named("kind").map(station_kind),
                enabled: words.named("enabled").map(|text| text == "true"),
                organization: words.named("org").map(optional),
                owner: words.named("owner").map(optional),
            },
            "workgroup" => EntityChange::Workgroup { name, service_id: None, types: words.named("types").map(list) },
            "org" => EntityChange::Organization { name, parent: words.named("under").map(optional) },
            other => panic!("`{other}` cannot be set"),
        };
        words.end();
        self.act(Act::Change(change))
    }
}
