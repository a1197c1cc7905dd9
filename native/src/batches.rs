//! The record batches of one partition in an answer to a fetch, as columns.
//!
//! A portion is taken whole, exactly as the client's own decoder reads it, or not at all.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, Int8Builder, Int64Builder, MapBuilder, MapFieldNames,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::ArrowError;

use crate::bytes::{Reader, i16_at, i32_at, i64_at, u32_at};
use crate::codec;
use crate::refusal::{Refusal, refuse};

/// Of every format: base offset and length, which count from behind themselves.
const OVERHEAD: usize = 12;
/// Of a batch of format 2: everything in front of its records.
const HEADER: usize = 61;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const CHECKED_FROM: usize = 21;

const APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
/// What the key of a control record says: version 0, an abort.
const ABORT: &[u8] = b"\0\0\0\0";
const COMMIT: &[u8] = b"\0\0\0\x01";

/// Records that follow one another in an answer.
pub struct Portion {
    pub columns: RecordBatch,
    /// Where the reader goes on.
    pub next_offset: i64,
    /// No whole batch follows; one that is cut off is for the next fetch.
    pub is_last: bool,
}

/// Reads an answer from its beginning, in portions. After a refusal it is of no use any more.
pub struct Answer {
    transactions: Transactions,
    next_offset: i64,
    at: usize,
    unpacked: Vec<u8>,
}

impl Answer {
    /// Args: `fetch_offset`, below which records are left out; producer id and first offset of each
    /// aborted transaction; whether the records of these are left out.
    pub fn new(fetch_offset: i64, aborted: Vec<(i64, i64)>, committed: bool) -> Self {
        Self {
            transactions: Transactions::new(aborted, committed),
            next_offset: fetch_offset,
            at: 0,
            unpacked: Vec::new(),
        }
    }

    /// Decode whole batches, until they have so many records or no other follows.
    ///
    /// Args: `data`, which is the same in all calls.
    pub fn read(&mut self, data: &[u8], at_least: usize) -> Result<Portion, Refusal> {
        let mut out = Columns::default();
        let mut is_last = false;
        while !is_last && out.len() < at_least {
            let rest = data.get(self.at..).unwrap_or_default();
            match next_batch(rest)? {
                Some((batch, behind)) => {
                    self.read_batch(&batch, &mut out)?;
                    self.at = data.len() - behind.len();
                    is_last = whole_batch(behind)?.is_none();
                }
                None => is_last = true,
            }
        }
        let columns = out.finish().map_err(|_| refuse("records that no columns hold"))?;
        Ok(Portion { columns, next_offset: self.next_offset, is_last })
    }

    fn read_batch(&mut self, batch: &Batch, out: &mut Columns) -> Result<(), Refusal> {
        if self.transactions.admit(batch)? {
            let records = if batch.codec == 0 {
                batch.records
            } else {
                codec::unpack(batch.codec, batch.records, &mut self.unpacked)?;
                &self.unpacked
            };
            read_records(batch, records, self.next_offset, out)?;
        }
        self.next_offset = batch.next_offset;
        Ok(())
    }
}

/// The header of a batch, checked, and its records as they came.
struct Batch<'a> {
    attributes: i16,
    codec: u8,
    base_offset: i64,
    next_offset: i64,
    first_timestamp: i64,
    max_timestamp: i64,
    producer_id: i64,
    count: i32,
    records: &'a [u8],
}

impl Batch<'_> {
    fn is(&self, flag: i16) -> bool {
        self.attributes & flag != 0
    }
}

/// The first batch's bytes, and what stands behind them.
type Parts<'a> = (&'a [u8], &'a [u8]);

/// The parts of an answer; none if its first batch is not there as a whole.
fn whole_batch(data: &[u8]) -> Result<Option<Parts<'_>>, Refusal> {
    if data.len() < OVERHEAD {
        return Ok(None);
    }
    let length = usize::try_from(i32_at(data, 8)).map_err(|_| refuse("a negative length"))?;
    Ok(data.split_at_checked(OVERHEAD + length))
}

fn next_batch(data: &[u8]) -> Result<Option<(Batch<'_>, &[u8])>, Refusal> {
    let Some((batch, behind)) = whole_batch(data)? else {
        return Ok(None);
    };
    if batch.len() < HEADER {
        return Err(refuse("a batch shorter than its header"));
    }
    if batch[MAGIC_AT] != 2 {
        return Err(refuse("a batch of another format than 2"));
    }
    if u32_at(batch, CRC_AT) != crc32c::crc32c(&batch[CHECKED_FROM..]) {
        return Err(refuse("a batch with a wrong checksum"));
    }
    let base_offset = i64_at(batch, 0);
    let next_offset = base_offset
        .checked_add(i64::from(i32_at(batch, 23)))
        .and_then(|last| last.checked_add(1))
        .ok_or(refuse("an offset beyond 64 bits"))?;
    let found = Batch {
        attributes: i16_at(batch, 21),
        codec: batch[22] & 0x07,
        base_offset,
        next_offset,
        first_timestamp: i64_at(batch, 27),
        max_timestamp: i64_at(batch, 35),
        producer_id: i64_at(batch, 43),
        count: i32_at(batch, 57),
        records: &batch[HEADER..],
    };
    Ok(Some((found, behind)))
}

/// Which batches are of aborted transactions.
struct Transactions {
    /// By first offset, the last one first.
    to_come: Vec<(i64, i64)>,
    aborted: HashSet<i64>,
    committed: bool,
}

impl Transactions {
    fn new(mut to_come: Vec<(i64, i64)>, committed: bool) -> Self {
        to_come.sort_by_key(|&(_, first_offset)| std::cmp::Reverse(first_offset));
        Self { to_come, aborted: HashSet::new(), committed }
    }

    /// Whether a batch's records are the reader's.
    fn admit(&mut self, batch: &Batch) -> Result<bool, Refusal> {
        if self.committed {
            while let Some((producer_id, _)) =
                self.to_come.pop_if(|(_, first_offset)| *first_offset <= batch.base_offset)
            {
                self.aborted.insert(producer_id);
            }
            if batch.is(CONTROL) && is_abort(batch)? {
                self.aborted.remove(&batch.producer_id);
            }
            if batch.is(TRANSACTIONAL) && self.aborted.contains(&batch.producer_id) {
                return Ok(false);
            }
        }
        Ok(!batch.is(CONTROL))
    }
}

/// Whether a control batch ends its transaction by an abort.
fn is_abort(batch: &Batch) -> Result<bool, Refusal> {
    if batch.codec != 0 || batch.count < 1 {
        return Err(refuse("a control batch of an unknown kind"));
    }
    let record = Record::read(&mut Reader::new(batch.records), |_, _| ())?;
    match record.key {
        Some(ABORT) => Ok(true),
        Some(COMMIT) => Ok(false),
        _ => Err(refuse("a control batch of an unknown kind")),
    }
}

struct Record<'a> {
    timestamp_delta: i64,
    offset_delta: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// Read a record whole; each of its headers is handed to `on_header`.
    fn read(
        reader: &mut Reader<'a>,
        mut on_header: impl FnMut(&'a [u8], Option<&'a [u8]>),
    ) -> Result<Self, Refusal> {
        let length = reader.varint()?;
        let begin = reader.position();
        // Its attributes, of which none is in use: a varint to one decoder, a byte to another.
        if reader.u8()? >= 0x80 {
            return Err(refuse("a record with attributes"));
        }
        let timestamp_delta = reader.varint()?;
        let offset_delta = reader.varint()?;
        let key = reader.nullable()?;
        let value = reader.nullable()?;
        let headers = reader.varint()?;
        if headers < 0 {
            return Err(refuse("a negative number of headers"));
        }
        for _ in 0..headers {
            let name = reader.nullable()?.ok_or(refuse("a header without a name"))?;
            on_header(name, reader.nullable()?);
        }
        if i64::try_from(reader.position() - begin) != Ok(length) {
            return Err(refuse("a record of another length than it says"));
        }
        Ok(Self { timestamp_delta, offset_delta, key, value })
    }
}

fn read_records(
    batch: &Batch,
    records: &[u8],
    next_offset: i64,
    out: &mut Columns,
) -> Result<(), Refusal> {
    let is_append_time = batch.is(APPEND_TIME);
    let mut next_offset = next_offset;
    let mut reader = Reader::new(records);
    let mut headers = Vec::new();
    for _ in 0..batch.count.max(0) {
        headers.clear();
        let record = Record::read(&mut reader, |name, value| headers.push((name, value)))?;
        let offset = batch
            .base_offset
            .checked_add(record.offset_delta)
            .filter(|offset| *offset < i64::MAX)
            .ok_or(refuse("an offset beyond 64 bits"))?;
        let timestamp = if is_append_time {
            batch.max_timestamp
        } else {
            batch
                .first_timestamp
                .checked_add(record.timestamp_delta)
                .ok_or(refuse("a time beyond 64 bits"))?
        };
        if offset >= next_offset {
            next_offset = offset + 1;
            out.append(offset, timestamp, is_append_time, &record, &headers)?;
        }
    }
    if reader.is_at_end() { Ok(()) } else { Err(refuse("bytes behind the last record")) }
}

/// The most bytes of a column of keys, values or headers: its offsets have 32 bits.
const MAX_COLUMN_BYTES: usize = i32::MAX as usize;

struct Columns {
    offset: Int64Builder,
    timestamp: Int64Builder,
    timestamp_type: Int8Builder,
    key: BinaryBuilder,
    value: BinaryBuilder,
    headers: MapBuilder<BinaryBuilder, BinaryBuilder>,
    feed: BinaryBuilder,
    line: BinaryBuilder,
    bytes: usize,
}

impl Default for Columns {
    fn default() -> Self {
        let names =
            MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
        Self {
            offset: Int64Builder::new(),
            timestamp: Int64Builder::new(),
            timestamp_type: Int8Builder::new(),
            key: BinaryBuilder::new(),
            value: BinaryBuilder::new(),
            headers: MapBuilder::new(Some(names), BinaryBuilder::new(), BinaryBuilder::new()),
            feed: BinaryBuilder::new(),
            line: BinaryBuilder::new(),
            bytes: 0,
        }
    }
}

impl Columns {
    fn len(&self) -> usize {
        self.offset.len()
    }

    fn append(
        &mut self,
        offset: i64,
        timestamp: i64,
        is_append_time: bool,
        record: &Record,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Result<(), Refusal> {
        let of_headers =
            headers.iter().map(|(name, value)| name.len() + size(*value)).sum::<usize>();
        // Together, so also each for itself.
        self.bytes += size(record.key) + size(record.value) + of_headers;
        if self.bytes > MAX_COLUMN_BYTES {
            return Err(refuse("more bytes than a column holds"));
        }
        self.offset.append_value(offset);
        self.timestamp.append_value(timestamp);
        self.timestamp_type.append_value(i8::from(is_append_time));
        self.key.append_option(record.key);
        self.value.append_option(record.value);
        let (mut feed, mut line) = (None, None);
        for (name, value) in headers {
            match *name {
                b"feed" => feed = *value,
                b"line" => line = *value,
                _ => {}
            }
            self.headers.keys().append_value(name);
            self.headers.values().append_option(*value);
        }
        self.headers.append(true).map_err(|_| refuse("headers that no column holds"))?;
        self.feed.append_option(feed);
        self.line.append_option(line);
        Ok(())
    }

    fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let columns: [(&str, ArrayRef); 8] = [
            ("offset", Arc::new(self.offset.finish())),
            ("timestamp", Arc::new(self.timestamp.finish())),
            ("timestamp_type", Arc::new(self.timestamp_type.finish())),
            ("key", Arc::new(self.key.finish())),
            ("value", Arc::new(self.value.finish())),
            ("headers", Arc::new(self.headers.finish())),
            ("feed", Arc::new(self.feed.finish())),
            ("line", Arc::new(self.line.finish())),
        ];
        RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, array)| {
                (name, array, matches!(name, "key" | "value" | "feed" | "line"))
            }),
        )
    }
}

fn size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(0, <[u8]>::len)
}
