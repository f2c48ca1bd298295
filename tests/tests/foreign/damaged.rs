//! Usage files damaged as bytes are, as a crash does, and by whoever holds the installation's key.

use leasehold_keys::digest::Sha256;

use super::writer::{Chance, File, Writer};

/// As a crash would: cuts the last record, or leaves zeros behind.
pub(super) fn tear(chance: &mut Chance, file: &mut File) {
    let places = places(&file.bytes);
    match (chance.below(3), places.last()) {
        (0, Some(&last)) => file.bytes.truncate(last + chance.below(file.bytes.len() - last)),
        (1, _) => file.bytes.extend(vec![0; 1 + chance.below(5_000)]),
        _ => {}
    }
}

/// Where records begin in a file that was not damaged.
pub(super) fn places(bytes: &[u8]) -> Vec<usize> {
    let mut at = usize::from(u16::from_be_bytes([bytes[8], bytes[9]]));
    let mut places = Vec::new();
    while let Some(length) = bytes.get(at..at + 4) {
        places.push(at);
        at += 17 + u32::from_be_bytes(length.try_into().expect("4 bytes")) as usize;
    }
    places
}

/// Another file of a random segment, damaged as bytes are and as someone would who holds the installation's key.
pub(super) fn damaged(chance: &mut Chance, writer: &Writer, whole: &[u8]) -> Vec<u8> {
    let mut starts = places(whole);
    let mut header = whole[..starts.first().copied().unwrap_or(whole.len())].to_vec();
    starts.push(whole.len());
    let mut records: Vec<Vec<u8>> = starts.windows(2).map(|pair| whole[pair[0]..pair[1]].to_vec()).collect();
    let signed = header.len() - 64;
    if chance.one_in(3) {
        let at = match chance.below(4) {
            0 => *chance.pick(&[6, 8, 9, 10, 12, 14, 16, 17, 18, 19, 20, 23, 24, 31, 96, 104, 168]),
            1 => chance.below(25),
            _ => chance.below(signed),
        };
        header[at] = match chance.below(3) {
            0 => 0,
            1 => header[at].wrapping_add(1),
            _ => chance.bytes::<1>()[0],
        };
        if !chance.one_in(4) {
            let signature = writer.installation.sign("usage-header", &[&header[..signed]]);
            header[signed..].copy_from_slice(&signature);
        }
    }
    if !records.is_empty() {
        let (one, other) = (chance.below(records.len()), chance.below(records.len()));
        let length = records[one].len();
        match chance.below(8) {
            0 => drop(records.remove(one)),
            1 => records.swap(one, other),
            2 => records.insert(other, records[one].clone()),
            3 => records[one][chance.below(length)] ^= 1 << chance.below(8),
            4 => records[one][chance.below(13)] = u8::try_from(chance.below(256)).expect("a byte"),
            5 => records[one][12] = u8::try_from(chance.below(5)).expect("a byte"),
            6 => records[one].truncate(chance.below(length)),
            _ => {}
        }
        match chance.below(4) {
            0 => records.iter_mut().for_each(|record| check(record)),
            1 => chain_again(writer, &header, &mut records),
            _ => {}
        }
    }
    let mut bytes = [header, records.concat()].concat();
    match chance.below(12) {
        0 => bytes.truncate(chance.below(bytes.len() + 1)),
        1 => bytes.truncate(chance.below(24)),
        2 => bytes.extend((0..chance.below(40)).map(|_| chance.bytes::<1>()[0])),
        3 => bytes.extend(vec![0; chance.below(40)]),
        4 => {
            let from = chance.below(bytes.len().max(1));
            bytes.iter_mut().skip(from).for_each(|byte| *byte = 0);
        }
        5 if !bytes.is_empty() => {
            let at = chance.below(bytes.len());
            bytes[at] ^= 1 << chance.below(8);
        }
        _ => {}
    }
    bytes
}

/// Makes the checksum of a record fit.
fn check(record: &mut [u8]) {
    let Some(end) = record.len().checked_sub(4) else { return };
    let mut crc = u32::MAX;
    for byte in &record[..end] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    record[end..].copy_from_slice(&(!crc).to_be_bytes());
}

/// Numbers, signs and checks records again, so that only what is sealed tells of the damage.
fn chain_again(writer: &Writer, header: &[u8], records: &mut [Vec<u8>]) {
    let (public, segment) = (&header[48..80], &header[20..24]);
    let mut chain = Sha256::of(header);
    for (record, index) in records.iter_mut().zip(1_u64..) {
        if record.len() < 17 {
            continue;
        }
        record[4..12].copy_from_slice(&index.to_be_bytes());
        let purpose = if record[12] == 2 { "usage-checkpoint" } else { "usage-close" };
        if matches!(record[12], 2 | 3) && record.len() == 97 {
            let parts = [public, segment, &index.to_be_bytes(), chain.as_bytes(), &record[13..29]];
            let signature = writer.installation.sign(purpose, &parts);
            record[29..93].copy_from_slice(&signature);
        }
        check(record);
        chain = Sha256::of(&[chain.as_bytes(), &record[..]].concat());
    }
}
