//! Bybit's fifth API: `publicTrade` of the spot, linear and inverse markets.

use super::{Found, key_names, stamped};
use crate::json::{Field, Scanner};
use crate::numbers::{decimal, is_timely, since_1970};
use crate::trades::{Message, Raw, Trade, trade_id};

const TRADES: &[u8] = b"publicTrade.";
/// Of options the topic names a coin, not an instrument: they are read in Python.
const MARKETS: [&[u8]; 3] = [b"spot:", b"linear:", b"inverse:"];

#[derive(Default)]
struct Fields<'a> {
    id: Field<&'a [u8]>,
    time: Field<i64>,
    symbol: Field<&'a [u8]>,
    side: Field<&'a [u8]>,
    quantity: Field<&'a [u8]>,
    price: Field<&'a [u8]>,
    is_block: Field<bool>,
    is_rpi: Field<bool>,
}

pub fn read<'a>(raw: &Raw<'a>) -> Option<Found<'a>> {
    let stamped = stamped(raw.value)?;
    let mut scanner = Scanner::new(stamped.text)?;
    let mut topic = Field::default();
    let mut data = None;
    scanner.object(|scanner, name| match name {
        b"topic" => topic.text(scanner),
        b"data" => {
            let found = scanner.items(Fields::of)?;
            data.replace(found).is_none().then_some(())
        }
        _ => scanner.skip(),
    })?;
    scanner.end()?;
    let name: &[u8] = topic.get()?.strip_prefix(TRADES)?;
    let is_named = !name.iter().any(|byte| matches!(byte, b'.' | b'@' | b':'));
    if !is_named || !MARKETS.iter().any(|market| key_names(raw.key, &[market, name])) {
        return None;
    }
    let data = data.filter(|trades| !trades.is_empty())?;
    let trades = data
        .iter()
        .map(|fields| fields.trade(name, raw.append_time_ms))
        .collect::<Option<Vec<_>>>()?;
    let message =
        Message { sequence: None, session: None, receive_time_ns: stamped.receive_time_ns };
    Some(Found { message, trades })
}

impl<'a> Fields<'a> {
    fn of(scanner: &mut Scanner<'a>) -> Option<Self> {
        let mut fields = Self::default();
        scanner.object(|scanner, name| fields.read(scanner, name))?;
        Some(fields)
    }

    fn read(&mut self, scanner: &mut Scanner<'a>, name: &[u8]) -> Option<()> {
        match name {
            b"i" => self.id.id(scanner),
            b"T" => self.time.integer(scanner),
            b"s" => self.symbol.text(scanner),
            b"S" => self.side.text(scanner),
            b"v" => self.quantity.text(scanner),
            b"p" => self.price.text(scanner),
            b"BT" => self.is_block.bool(scanner),
            b"RPI" => self.is_rpi.bool(scanner),
            _ => scanner.skip(),
        }
    }

    fn trade(&self, name: &[u8], append_time_ms: i64) -> Option<Trade<'a>> {
        if self.symbol.get()? != name {
            return None;
        }
        let marks: [(&[u8], _); 2] = [(b"block", self.is_block), (b"rpi", self.is_rpi)];
        let marks: Vec<_> = marks
            .into_iter()
            .filter_map(|(mark, flag)| (flag.get() == Some(true)).then_some(mark))
            .collect();
        Some(Trade {
            trade_id: Some(trade_id(self.id.get()?)?),
            price: decimal(self.price.get()?)?,
            quantity: decimal(self.quantity.get()?)?,
            side: match self.side.get() {
                Some(b"Buy") => Some("buy"),
                Some(b"Sell") => Some("sell"),
                Some(_) => return None,
                None => None,
            },
            conditions: (!marks.is_empty()).then_some(marks),
            time_ns: since_1970(self.time.get()?).filter(|&ns| is_timely(ns, append_time_ms))?,
            ..Trade::default()
        })
    }
}
