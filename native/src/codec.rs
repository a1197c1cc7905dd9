//! Decompression of a record batch's records, bounded.

use std::io::Read;

use crate::bytes::i32_at;
use crate::refusal::{Refusal, refuse};

/// The most bytes that a batch may become: a broker's limit of 1 MiB times the best ratio that real
/// messages reach, and far below what a hostile batch could ask for.
pub const MAX_UNPACKED_BYTES: usize = 256 * 1024 * 1024;

const XERIAL: &[u8] = b"\x82SNAPPY\0";
const XERIAL_VERSIONS: &[u8] = b"\0\0\0\x01\0\0\0\x01";

/// Decompress into an empty buffer.
///
/// Args: `codec` as the attributes of a batch name it; not 0.
pub fn unpack(codec: u8, packed: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    out.clear();
    if packed.is_empty() {
        return Err(refuse("no compressed bytes"));
    }
    match codec {
        1 => read_all(flate2::read::MultiGzDecoder::new(packed), out),
        2 => unpack_snappy(packed, out),
        3 if is_whole_lz4_frame(packed) => {
            read_all(lz4_flex::frame::FrameDecoder::new(packed), out)
        }
        3 => Err(refuse("an LZ4 frame that does not end where its bytes do")),
        4 => {
            let decoder = zstd::stream::read::Decoder::with_buffer(packed)
                .map_err(|_| refuse("compressed bytes that cannot be read"))?;
            read_all(decoder, out)
        }
        _ => Err(refuse("a codec that Kafka does not have")),
    }
}

fn read_all(reader: impl Read, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let limit = MAX_UNPACKED_BYTES as u64 + 1;
    reader
        .take(limit)
        .read_to_end(out)
        .map_err(|_| refuse("compressed bytes that cannot be read"))?;
    if out.len() > MAX_UNPACKED_BYTES {
        return Err(refuse("a batch that becomes too large"));
    }
    Ok(())
}

/// Whether bytes are one LZ4 frame up to its end mark, which the decoder would not miss.
fn is_whole_lz4_frame(packed: &[u8]) -> bool {
    const MAGIC: &[u8] = b"\x04\x22\x4d\x18";
    const STORED: u32 = 1 << 31;
    let Some((&flags, rest)) = packed.strip_prefix(MAGIC).and_then(<[u8]>::split_first) else {
        return false;
    };
    let has = |flag: u8| usize::from(flags & flag != 0);
    let (block_sum, content_size, content_sum, dictionary) =
        (has(0x10) * 4, has(0x08) * 8, has(0x04) * 4, has(0x01) * 4);
    // The block's greatest size and the header's own sum stand around the optional fields.
    let mut at = 1 + content_size + dictionary + 1;
    while let Some(size) = rest.get(at..).and_then(|behind| behind.first_chunk()) {
        let size = u32::from_le_bytes(*size);
        if size == 0 {
            return at + 4 + content_sum == rest.len();
        }
        at += 4 + (size & !STORED) as usize + block_sum;
    }
    false
}

/// One block, or the blocks of xerial's framing, which Kafka's Java clients write.
fn unpack_snappy(packed: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    let Some(framed) = packed.strip_prefix(XERIAL) else {
        return unpack_block(packed, out);
    };
    let mut rest = framed
        .strip_prefix(XERIAL_VERSIONS)
        .ok_or(refuse("snappy's framing of another version"))?;
    while !rest.is_empty() {
        if rest.len() < 4 {
            return Err(refuse("a snappy block that ends too early"));
        }
        let size = usize::try_from(i32_at(rest, 0)).map_err(|_| refuse("a negative length"))?;
        let block = rest[4..].get(..size).ok_or(refuse("a snappy block that ends too early"))?;
        unpack_block(block, out)?;
        rest = &rest[4 + size..];
    }
    Ok(())
}

fn unpack_block(block: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    let unreadable = |_| refuse("compressed bytes that cannot be read");
    let size = snap::raw::decompress_len(block).map_err(unreadable)?;
    let begin = out.len();
    if size > MAX_UNPACKED_BYTES - begin {
        return Err(refuse("a batch that becomes too large"));
    }
    out.resize(begin + size, 0);
    let written =
        snap::raw::Decoder::new().decompress(block, &mut out[begin..]).map_err(unreadable)?;
    out.truncate(begin + written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &[u8] = b"one message and one message and one message";

    fn unpacked(codec: u8, packed: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![1, 2, 3];
        unpack(codec, packed, &mut out).ok().map(|()| out)
    }

    fn packed(codec: u8) -> Vec<u8> {
        match codec {
            1 => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(TEXT).unwrap();
                encoder.finish().unwrap()
            }
            2 => snap::raw::Encoder::new().compress_vec(TEXT).unwrap(),
            3 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(TEXT).unwrap();
                encoder.finish().unwrap()
            }
            _ => zstd::encode_all(TEXT, 1).unwrap(),
        }
    }

    #[test]
    fn every_codec_is_unpacked_and_damage_is_refused() {
        for codec in 1..=4 {
            let whole = packed(codec);
            assert_eq!(unpacked(codec, &whole).as_deref(), Some(TEXT));
            for cut in 0..whole.len() {
                assert_eq!(unpacked(codec, &whole[..cut]), None, "{codec} {cut}");
            }
        }
        assert_eq!(unpacked(5, TEXT), None);
    }

    #[test]
    fn framed_blocks_of_snappy_are_joined() {
        let block = packed(2);
        let mut framed = [XERIAL, XERIAL_VERSIONS].concat();
        for _ in 0..2 {
            framed.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
            framed.extend(&block);
        }
        assert_eq!(unpacked(2, &framed), Some([TEXT, TEXT].concat()));
        framed.pop();
        assert_eq!(unpacked(2, &framed), None);
        assert_eq!(unpacked(2, &[XERIAL, b"\0\0\0\x02\0\0\0\x02"].concat()), None);
    }

    #[test]
    fn a_block_that_asks_for_more_memory_than_any_batch_has_is_refused() {
        assert_eq!(unpacked(2, b"\xff\xff\xff\xff\x0f\0"), None);
    }
}
