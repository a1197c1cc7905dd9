//! Coinbase Advanced Trade: messages of the channel `market_trades` that hold trades.

use super::{Found, stamped};
use crate::json::{Field, Scanner};
use crate::numbers::{decimal, is_timely, rfc_3339};
use crate::trades::{Message, Raw, Trade, is_symbol, scope_of, trade_id};

const TRADES: &[u8] = b"market_trades";
/// Of the name of a session: the connection's begin in ns, with zeros before it.
const SESSION_DIGITS: usize = 19;

#[derive(Default)]
struct Fields<'a> {
    product: Field<&'a [u8]>,
    id: Field<&'a [u8]>,
    price: Field<&'a [u8]>,
    size: Field<&'a [u8]>,
    side: Field<&'a [u8]>,
    time: Field<&'a [u8]>,
}

struct Event<'a> {
    is_snapshot: bool,
    trades: Vec<Fields<'a>>,
}

pub fn read<'a>(raw: &Raw<'a>) -> Option<Found<'a>> {
    let (_, connection) = scope_of(raw.key)?;
    let stamped = stamped(raw.value)?;
    // Shorter ones get zeros in Python.
    let session = stamped.connected.filter(|begin| begin.len() == SESSION_DIGITS)?;
    let mut scanner = Scanner::new(stamped.text)?;
    let mut channel = Field::default();
    let mut sequence = Field::default();
    let mut events = None;
    scanner.object(|scanner, name| match name {
        b"channel" => channel.text(scanner),
        b"sequence_num" => sequence.integer(scanner),
        b"events" => {
            let found = scanner.items(Event::read)?;
            events.replace(found).is_none().then_some(())
        }
        _ => scanner.skip(),
    })?;
    scanner.end()?;
    if channel.get()? != TRADES || connection.first() != Some(&b'@') {
        return None;
    }
    let trades = events?
        .iter()
        .flat_map(|event| event.trades.iter().map(|fields| (event.is_snapshot, fields)))
        .map(|(is_snapshot, fields)| fields.trade(is_snapshot, raw.append_time_ms))
        .collect::<Option<Vec<_>>>()?;
    if trades.is_empty() {
        return None;
    }
    let message = Message {
        sequence: Some(sequence.get()?),
        session: Some(session),
        receive_time_ns: stamped.receive_time_ns,
    };
    Some(Found { message, trades })
}

impl<'a> Event<'a> {
    fn read(scanner: &mut Scanner<'a>) -> Option<Self> {
        let mut kind = Field::default();
        let mut trades = None;
        scanner.object(|scanner, name| match name {
            b"type" => kind.text(scanner),
            b"trades" => {
                let found = scanner.items(Fields::of)?;
                trades.replace(found).is_none().then_some(())
            }
            _ => scanner.skip(),
        })?;
        let kind: Option<&[u8]> = kind.get();
        Some(Self { is_snapshot: kind == Some(b"snapshot"), trades: trades? })
    }
}

impl<'a> Fields<'a> {
    fn of(scanner: &mut Scanner<'a>) -> Option<Self> {
        let mut fields = Self::default();
        scanner.object(|scanner, name| fields.read(scanner, name))?;
        Some(fields)
    }

    fn read(&mut self, scanner: &mut Scanner<'a>, name: &[u8]) -> Option<()> {
        match name {
            b"product_id" => self.product.text(scanner),
            b"trade_id" => self.id.id(scanner),
            b"price" => self.price.text(scanner),
            b"size" => self.size.text(scanner),
            b"side" => self.side.text(scanner),
            b"time" => self.time.text(scanner),
            _ => scanner.skip(),
        }
    }

    fn trade(&self, is_snapshot: bool, append_time_ms: i64) -> Option<Trade<'a>> {
        Some(Trade {
            symbol: Some(self.product.get().filter(|name| is_symbol(name))?),
            trade_id: Some(trade_id(self.id.get()?)?),
            price: decimal(self.price.get()?)?,
            quantity: decimal(self.size.get()?)?,
            // The message names the maker's side.
            side: match self.side.get() {
                Some(b"BUY") => Some("sell"),
                Some(b"SELL") => Some("buy"),
                Some(_) => return None,
                None => None,
            },
            conditions: is_snapshot.then(|| vec![&b"snapshot"[..]]),
            time_ns: rfc_3339(self.time.get()?).filter(|&ns| is_timely(ns, append_time_ms))?,
            vendor: None,
        })
    }
}
