//! Reading of Kafka's primitive types from bytes that may hold anything.

use crate::refusal::{Refusal, refuse};

/// A place in bytes. Every read is checked; none goes beyond the end.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Refusal> {
        let end = self.at.checked_add(count).ok_or(refuse("a length beyond all bounds"))?;
        let found = self.bytes.get(self.at..end).ok_or(refuse("bytes that end too early"))?;
        self.at = end;
        Ok(found)
    }

    pub fn u8(&mut self) -> Result<u8, Refusal> {
        let byte = *self.bytes.get(self.at).ok_or(refuse("bytes that end too early"))?;
        self.at += 1;
        Ok(byte)
    }

    /// A zigzag varint of at most ten bytes, as records have it.
    pub fn varint(&mut self) -> Result<i64, Refusal> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(zigzag(u64::from(first)));
        }
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            // Of the tenth byte one bit is within 64.
            if shift == 63 && bits > 1 {
                return Err(refuse("a number beyond 64 bits"));
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(zigzag(value));
            }
            shift += 7;
            if shift > 63 {
                return Err(refuse("a number beyond 64 bits"));
            }
        }
    }

    /// Bytes behind their length, of which a negative one means null.
    pub fn nullable(&mut self) -> Result<Option<&'a [u8]>, Refusal> {
        let size = self.varint()?;
        if size < 0 {
            return Ok(None);
        }
        let size = usize::try_from(size).map_err(|_| refuse("a length beyond all bounds"))?;
        self.take(size).map(Some)
    }
}

fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// The big-endian number at an offset; the caller has checked that the bytes are there.
pub fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(array_at(bytes, at))
}

pub fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(array_at(bytes, at))
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array_at(bytes, at))
}

pub fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut found = [0; N];
    found.copy_from_slice(&bytes[at..at + N]);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8]) -> Option<i64> {
        Reader::new(bytes).varint().ok()
    }

    #[test]
    fn varints_of_every_length_are_read() {
        assert_eq!(varint(&[0]), Some(0));
        assert_eq!(varint(&[1]), Some(-1));
        assert_eq!(varint(&[0x80, 1]), Some(64));
        let mut longest = [0xff; 10];
        longest[9] = 1;
        assert_eq!(varint(&longest), Some(i64::MIN));
        longest[0] = 0xfe;
        assert_eq!(varint(&longest), Some(i64::MAX));
    }

    #[test]
    fn varints_that_are_too_long_or_cut_are_refused() {
        let mut longest = [0xff; 10];
        longest[9] = 2;
        assert_eq!(varint(&longest), None);
        assert_eq!(varint(&[0xff; 12]), None);
        assert_eq!(varint(&[0x80]), None);
        assert_eq!(varint(&[]), None);
    }

    #[test]
    fn lengths_beyond_the_end_are_refused() {
        assert!(Reader::new(&[0x7e, 1]).nullable().is_err());
        assert!(Reader::new(&[1]).nullable().is_ok_and(|found| found.is_none()));
        assert!(Reader::new(&[4, 1, 2]).nullable().is_ok_and(|found| found == Some(&[1, 2])));
        assert!(Reader::new(&[1, 2]).take(usize::MAX).is_err());
    }
}
