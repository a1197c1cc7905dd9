//! What a message of each feed means, for the messages that most records are.
//!
//! A feed adds a record's trades to the columns, exactly as its Python decoder would, or leaves the
//! record to that decoder: so nothing here refuses a record, or names a reason.

mod binance;
mod bybit;
mod canonical;
mod coinbase_advanced;
mod coinbase_exchange;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, Int32Array, RecordBatch};

use crate::json::integer;
use crate::refusal::{Refusal, refuse};
use crate::trades::{Columns, Decoded, Left, Message, Raw, Trade};

/// Larger values are refused by every feed.
const MAX_VALUE_BYTES: usize = 262_144;

/// A message of a feed, and its trades, of which there is at least one.
pub struct Found<'a> {
    pub message: Message<'a>,
    pub trades: Vec<Trade<'a>>,
}

/// What a record is, if it is one of those that a feed knows here.
pub type Read = for<'a> fn(&Raw<'a>) -> Option<Found<'a>>;

/// The reader of a feed, by the name that the header `feed` has.
pub fn reader_of(feed: &str) -> Option<Read> {
    match feed {
        "canonical" => Some(canonical::read),
        "binance.spot" => Some(binance::read_spot),
        "binance.usdm" => Some(binance::read_usdm),
        "binance.coinm" => Some(binance::read_coinm),
        "bybit.v5" => Some(bybit::read),
        "coinbase.advanced" => Some(coinbase_advanced::read),
        "coinbase.exchange" => Some(coinbase_exchange::read),
        _ => None,
    }
}

/// The feeds that can be read here.
pub const FEEDS: [&str; 7] = [
    "canonical",
    "binance.spot",
    "binance.usdm",
    "binance.coinm",
    "bybit.v5",
    "coinbase.advanced",
    "coinbase.exchange",
];

/// Decode the records of one feed: columns `key`, `value` (binary) and `append_time_ms` (int64).
pub fn decode(read: Read, records: &RecordBatch) -> Result<(Decoded, Int32Array), Refusal> {
    let column = |name| records.column_by_name(name).ok_or(refuse("records without a column"));
    let of_bytes = refuse("a column of another type");
    let keys = column("key")?.as_binary_opt::<i32>().ok_or(of_bytes)?;
    let values = column("value")?.as_binary_opt::<i32>().ok_or(of_bytes)?;
    let times = column("append_time_ms")?.as_primitive_opt::<Int64Type>().ok_or(of_bytes)?;
    let mut columns = Columns::default();
    let mut left = Left::default();
    for at in 0..records.num_rows() {
        let place = i32::try_from(at).map_err(|_| refuse("more than a batch holds"))?;
        let is_present = keys.is_valid(at) && values.is_valid(at);
        let raw =
            Raw { key: keys.value(at), value: values.value(at), append_time_ms: times.value(at) };
        let found =
            if is_present && raw.value.len() <= MAX_VALUE_BYTES { read(&raw) } else { None };
        let is_taken = match found {
            Some(found) => columns.append(place, raw.key, &found.message, &found.trades)?,
            None => false,
        };
        if !is_taken {
            left.push(place);
        }
    }
    let decoded = columns.finish().map_err(|_| refuse("trades that no columns hold"))?;
    Ok((decoded, left.finish()))
}

/// A message, and what its recorder knew of it.
struct Stamped<'a> {
    text: &'a [u8],
    receive_time_ns: Option<i64>,
    /// When the connection began, in ns.
    connected: Option<&'a [u8]>,
}

/// Take the recorder's stamp off: none, one or two times in ns before the message.
fn stamped(value: &[u8]) -> Option<Stamped<'_>> {
    if !value.first()?.is_ascii_digit() {
        return Some(Stamped { text: value, receive_time_ns: None, connected: None });
    }
    let (received, text) = stamp(value)?;
    let receive_time_ns = Some(integer(received)?);
    if !text.first()?.is_ascii_digit() {
        return Some(Stamped { text, receive_time_ns, connected: None });
    }
    let (connected, text) = stamp(text)?;
    integer(connected)?;
    Some(Stamped { text, receive_time_ns, connected: Some(connected) })
}

/// The digits of a stamp, of at most 19, and what stands behind the blank.
fn stamp(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = text.iter().take(20).position(|&byte| byte == b' ')?;
    Some((&text[..length], &text[length + 1..]))
}

/// Whether a key names an exchange and a symbol that consists of these parts.
fn key_names(key: &[u8], symbol: &[&[u8]]) -> bool {
    let Some(colon) = key.iter().position(|&byte| byte == b':') else {
        return false;
    };
    let mut rest = &key[colon + 1..];
    for part in symbol {
        match rest.strip_prefix(*part) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    rest.is_empty()
}
