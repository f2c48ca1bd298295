//! Unsigned LEB128 in its shortest spelling, and signed differences as zigzag: what the plain content of records is
//! written in.

/// Appends `value`, seven bits to a byte, the lowest first.
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

/// Appends how far `to` lies after `from`, modulo 2^64, so that every pair of moments has a spelling.
pub(super) fn put_difference(out: &mut Vec<u8>, from: i64, to: i64) {
    let difference = to.wrapping_sub(from);
    put(out, (difference.wrapping_shl(1) ^ (difference >> 63)).cast_unsigned());
}

/// Bytes that are taken from the front.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// True where nothing is left.
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next bytes.
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next bytes, as many as the array has.
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// A varint in its shortest spelling.
    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return (shift == 0 || byte != 0).then_some(value);
            }
        }
        None
    }

    /// A varint of at most 32 bits.
    pub(super) fn varint_u32(&mut self) -> Option<u32> {
        self.varint()?.try_into().ok()
    }

    /// A varint as an index or length.
    pub(super) fn varint_usize(&mut self) -> Option<usize> {
        self.varint()?.try_into().ok()
    }

    /// What [`put_difference`] wrote, added to `from`.
    pub(super) fn difference(&mut self, from: i64) -> Option<i64> {
        let zigzag = self.varint()?;
        let difference = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        Some(from.wrapping_add(difference))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_shortest_spelling_is_read() {
        let read = |bytes: &[u8]| Reader(bytes).varint();
        assert_eq!(read(&[0]), Some(0));
        assert_eq!(read(&[0x80, 0x01]), Some(128));
        assert_eq!(read(&[0x80, 0x00]), None);
        assert_eq!(read(&[0x80]), None);
        assert_eq!(read(&[0xff; 9]), None);
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Some(u64::MAX));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value: u64, from: i64, to: i64) {
            let mut out = Vec::new();
            put(&mut out, value);
            put_difference(&mut out, from, to);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.varint(), Some(value));
            prop_assert_eq!(reader.difference(from), Some(to));
            prop_assert!(reader.is_empty());
        }
    }
}
