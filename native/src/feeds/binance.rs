//! Binance: a single `trade` message of the spot and futures markets, bare or in a stream's envelope.

use super::{Found, key_names, stamped};
use crate::json::{Field, Scanner};
use crate::numbers::{decimal, is_timely, since_1970};
use crate::trades::{Message, Raw, Trade, TradeId};

/// What most trades of the futures markets were; another word is a condition.
const ORDINARY: &[u8] = b"MARKET";
/// The word of a message that may be no trade.
const NO_FILL: &[u8] = b"NA";

#[derive(Default)]
struct Fields<'a> {
    event: Field<&'a [u8]>,
    symbol: Field<&'a [u8]>,
    id: Field<i64>,
    price: Field<&'a [u8]>,
    quantity: Field<&'a [u8]>,
    time: Field<i64>,
    is_sale: Field<bool>,
    what: Field<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn read(&mut self, scanner: &mut Scanner<'a>, name: &[u8]) -> Option<()> {
        match name {
            b"e" => self.event.text(scanner),
            b"s" => self.symbol.text(scanner),
            b"t" => self.id.integer(scanner),
            b"p" => self.price.text(scanner),
            b"q" => self.quantity.text(scanner),
            b"T" => self.time.integer(scanner),
            b"m" => self.is_sale.bool(scanner),
            b"X" => self.what.text(scanner),
            b"data" => None,
            _ => scanner.skip(),
        }
    }
}

pub fn read_spot<'a>(raw: &Raw<'a>) -> Option<Found<'a>> {
    read(raw, b"")
}

pub fn read_usdm<'a>(raw: &Raw<'a>) -> Option<Found<'a>> {
    read(raw, b"usdm:")
}

pub fn read_coinm<'a>(raw: &Raw<'a>) -> Option<Found<'a>> {
    read(raw, b"coinm:")
}

fn read<'a>(raw: &Raw<'a>, market: &[u8]) -> Option<Found<'a>> {
    let stamped = stamped(raw.value)?;
    let mut scanner = Scanner::new(stamped.text)?;
    let mut bare = Fields::default();
    let mut enveloped = None;
    scanner.object(|scanner, name| {
        if name != b"data" {
            return bare.read(scanner, name);
        }
        let mut fields = Fields::default();
        scanner.object(|scanner, name| fields.read(scanner, name))?;
        enveloped.replace(fields).is_none().then_some(())
    })?;
    scanner.end()?;
    let fields = enveloped.unwrap_or(bare);
    if fields.event.get()? != b"trade" || !key_names(raw.key, &[market, fields.symbol.get()?]) {
        return None;
    }
    let what = fields.what.get();
    if what == Some(NO_FILL) {
        return None;
    }
    let count = fields.id.get()?;
    let time_ns = since_1970(fields.time.get()?).filter(|&ns| is_timely(ns, raw.append_time_ms))?;
    let trade = Trade {
        trade_id: Some(TradeId::Number(count)),
        price: decimal(fields.price.get()?)?,
        quantity: decimal(fields.quantity.get()?)?,
        side: fields.is_sale.get().map(|is_sale| if is_sale { "sell" } else { "buy" }),
        conditions: what.filter(|what| *what != ORDINARY).map(|what| vec![what]),
        time_ns,
        ..Trade::default()
    };
    let message =
        Message { sequence: Some(count), session: None, receive_time_ns: stamped.receive_time_ns };
    Some(Found { message, trades: vec![trade] })
}
