//! Host IDs: what survives a change of hardware, a copied image and a copying hand.

mod vendor;

use leasehold_keys::host::{
    BadHostId, Factor,
    FactorState::{self, Changed, Missing, Same},
    HostFacts, HostId, HostVerdicts, NETWORK_MAX,
};
use vendor::{HOST_ID, facts};

fn id() -> HostId {
    HostId::new(&facts(), *b"0123456789abcdef")
}

#[test]
fn the_format_has_not_changed() {
    assert_eq!(id().to_string(), HOST_ID.trim());
}

#[test]
fn factors_are_kept_apart() {
    type Change = fn(&mut HostFacts);
    let table: [(&str, Change, [FactorState; 5], bool); 13] = [
        ("nothing changed", |_| (), [Same; 5], true),
        ("spelled otherwise", |f| f.platform = Some("4C4C4544-0051-3510-8052-B4C04F564433 ".into()), [Same; 5], true),
        (
            "a new network card",
            |f| f.network = vec!["02:00:00:00:00:01".into()],
            [Same, Same, Same, Same, Changed],
            true,
        ),
        ("a card was added", |f| f.network.push("02:00:00:00:00:01".into()), [Same; 5], true),
        ("no network card", |f| f.network.clear(), [Same, Same, Same, Same, Missing], true),
        ("UUID not readable", |f| f.platform = None, [Missing, Same, Same, Same, Same], true),
        (
            "a vendor's UUID",
            |f| f.platform = Some("03000200-0400-0500-0006-000700080009".into()),
            [Missing, Same, Same, Same, Same],
            true,
        ),
        ("an empty value", |f| f.disk = Some("  ".into()), [Same, Same, Missing, Same, Same], true),
        (
            "a copied image",
            |f| {
                f.platform = Some("11111111-2222-3333-4444-555555555555".into());
                f.network = vec!["02:00:00:00:00:01".into()];
            },
            [Changed, Same, Same, Same, Changed],
            false,
        ),
        (
            "reinstalled",
            |f| {
                f.system = Some("other".into());
                f.installation = Some("bb".repeat(32));
            },
            [Same, Changed, Same, Changed, Same],
            true,
        ),
        (
            "reinstalled on a new disk",
            |f| {
                f.system = Some("other".into());
                f.disk = Some("other".into());
                f.installation = Some("bb".repeat(32));
            },
            [Same, Changed, Changed, Changed, Same],
            false,
        ),
        (
            "values changed places",
            |f| std::mem::swap(&mut f.system, &mut f.disk),
            [Same, Changed, Changed, Same, Same],
            true,
        ),
        (
            "a container without facts",
            |f| *f = HostFacts { installation: f.installation.clone(), ..HostFacts::default() },
            [Missing, Missing, Missing, Same, Missing],
            false,
        ),
    ];
    let id = id();
    for (name, change, states, matches) in table {
        let mut facts = facts();
        change(&mut facts);
        let comparison = id.compare(&facts);
        assert_eq!(comparison.states().map(|(_, state)| state), states, "{name}");
        assert_eq!(comparison.matches(3), matches, "{name}");
    }
}

#[test]
fn what_is_missing_never_matches_what_is_missing() {
    let id = HostId::new(&HostFacts::default(), [7; 16]);
    assert!(Factor::ALL.into_iter().all(|factor| !id.records(factor)));
    let comparison = id.compare(&HostFacts::default());
    assert_eq!(comparison.same(), 0);
    // A need of 0 cannot come from a file; were it to, nothing would still not match.
    assert!(!comparison.matches(0));
    assert_eq!(id.to_string().parse::<HostId>().unwrap(), id);
}

#[test]
fn firmware_that_nobody_set_is_missing() {
    for uuid in [
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "03000200-0400-0500-0006-000700080009",
        "00020003-0004-0005-0006-000700080009",
        "Not Settable",
        "",
    ] {
        let facts = HostFacts { platform: Some(uuid.into()), ..HostFacts::default() };
        assert_eq!(facts.normal().platform, None, "{uuid}");
    }
    let network = ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "52:54:00:12:34:56", "52:54:00:12:34:56"];
    let facts = HostFacts { network: network.map(str::to_owned).to_vec(), ..HostFacts::default() };
    assert_eq!(facts.normal().network, ["52:54:00:12:34:56"]);
}

#[test]
fn many_network_cards_stay_within_the_bound() {
    let network: Vec<String> = (0..20).map(|n| format!("52:54:00:12:34:{n:02x}")).collect();
    let many = HostFacts { network: network.clone(), ..HostFacts::default() };
    assert_eq!(many.normal().network, network[..NETWORK_MAX]);
    let id = HostId::new(&many, [1; 16]);
    assert_eq!(id.to_string().parse::<HostId>().unwrap(), id);
    let one = HostFacts { network: vec![network[3].clone()], ..HostFacts::default() };
    assert_eq!(id.compare(&one).network, Same);
}

#[test]
fn two_salts_give_two_ids_of_one_machine() {
    let other = HostId::new(&facts(), [9; 16]);
    assert_ne!(other, id());
    assert!(other.compare(&facts()).matches(5));
}

#[test]
fn copying_by_hand_is_forgiven_what_is_not_lost() {
    let text = HOST_ID.trim();
    let id = id();
    for copied in [
        text.to_lowercase(),
        text.to_uppercase(),
        text.replace('-', ""),
        text.replace('-', " "),
        format!("  {}\n", text.replace('-', "\n")),
        text.replace('0', "O").replacen('1', "l", 9),
    ] {
        assert_eq!(copied.parse::<HostId>(), Ok(id.clone()), "{copied}");
    }
}

#[test]
fn a_wrong_character_is_noticed() {
    let text = HOST_ID.trim();
    for (at, character) in text.char_indices().skip(3).filter(|(_, c)| *c != '-') {
        let other = if character == 'A' { "B" } else { "A" };
        let mut wrong = text.to_owned();
        wrong.replace_range(at..=at, other);
        assert!(wrong.parse::<HostId>().is_err(), "{at}");
        let mut shorter = text.to_owned();
        shorter.remove(at);
        assert!(shorter.parse::<HostId>().is_err(), "{at}");
    }
    assert_eq!("h2-AAAAA".parse::<HostId>(), Err(BadHostId::Version));
    assert_eq!("".parse::<HostId>(), Err(BadHostId::Version));
    assert_eq!("h1-AAAAU".parse::<HostId>(), Err(BadHostId::Character('U')));
    assert_eq!("h1".parse::<HostId>(), Err(BadHostId::Layout));
    assert_eq!(format!("h1-{}", "0".repeat(100_000)).parse::<HostId>(), Err(BadHostId::Layout));
}

#[test]
fn verdicts_are_kept_and_bounded() {
    let (id, facts) = (id(), facts());
    let mut verdicts = HostVerdicts::default();
    assert_eq!(verdicts.known(&id, &facts), None);
    let made = verdicts.compare(&id, &facts);
    let stored = serde_json::to_string(&verdicts).unwrap();
    let mut verdicts: HostVerdicts = serde_json::from_str(&stored).unwrap();
    assert_eq!(verdicts.known(&id, &facts), Some(made));
    let mut other = facts.clone();
    other.disk = None;
    assert_eq!(verdicts.known(&id, &other), None);
    for n in 0..leasehold_keys::host::VERDICTS_MAX + 3 {
        // Without facts no hash is made, so this is quick.
        let empty = HostFacts { platform: Some("0".repeat(n)), ..HostFacts::default() };
        verdicts.compare(&HostId::new(&empty, [u8::try_from(n).unwrap(); 16]), &empty);
    }
    assert_eq!(verdicts.len(), leasehold_keys::host::VERDICTS_MAX);
    assert_eq!(verdicts.known(&id, &facts), None);
}

#[test]
fn a_refusal_lists_every_factor() {
    let mut changed = facts();
    changed.network = vec!["02:00:00:00:00:01".into()];
    changed.disk = None;
    changed.system = Some("x".into());
    let comparison = id().compare(&changed);
    let message = comparison.refusal_message(3);
    for part in [
        "2 of 5",
        "3 are needed",
        "platform same",
        "system changed",
        "disk missing",
        "installation same",
        "network changed",
        "leasehold request",
    ] {
        assert!(message.contains(part), "{message}");
    }
    changed.disk = facts().disk;
    let comparison = id().compare(&changed);
    assert!(comparison.matches(3) && comparison.offers_rebaseline(3));
    assert!(!id().compare(&facts()).offers_rebaseline(3));
}
