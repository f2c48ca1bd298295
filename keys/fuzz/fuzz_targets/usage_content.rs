//! The plain content of usage records: what is read is sealed and opened again, unchanged.
#![no_main]

use leasehold_keys::{
    activation::LicenseId,
    installation::InstallationKey,
    time::WallTime,
    usage::{Begun, Clocks, Names, Opening, Segment, UsagePrivateKey, open, plain_items},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    // A byte that begins no operation parts records, so that later ones can refer to earlier ones.
    let contents: Vec<&[u8]> = content.split(|byte| *byte == 0xff).collect();
    let start = WallTime::from_ms(1_795_305_600_000);
    let Ok(items) = plain_items(Names::Plain, start, &contents) else { return };
    let key = UsagePrivateKey::from_seed([0x11; 32].into());
    let recipients = [key.public()];
    let Ok(license) = "7f3c9a52-1f0e-4b1e-9c55-0d2f6a3b8e41".parse() else { return };
    let opening = Opening {
        license: LicenseId(license),
        role: None,
        begun: Begun::First,
        start: Clocks { trusted: start, wall: start },
        names: Names::Plain,
        recipients: &recipients,
    };
    let installation = InstallationKey::from_seed([1; 32]).unwrap();
    let (mut segment, mut file) = Segment::begin(&installation, &opening, None).unwrap();
    let mut rest = &items[..];
    while !rest.is_empty() {
        let sealed = segment.seal(rest).unwrap();
        file.extend(sealed.record);
        rest = &rest[sealed.taken..];
    }
    let opened = open(&file, &key).unwrap();
    assert!(opened.damage.is_none() && opened.items().eq(&items));
});
