//! K2's own format of trades: one JSON object per record.

use super::Found;
use crate::json::{Field, Pairs, Scalar, Scanner};
use crate::numbers::{decimal, is_timely};
use crate::trades::{Message, Raw, Trade, trade_id};

const MAX_SESSION_CHARS: usize = 64;

#[derive(Default)]
struct Fields<'a> {
    exchange: Field<&'a [u8]>,
    symbol: Field<&'a [u8]>,
    price: Field<&'a [u8]>,
    quantity: Field<&'a [u8]>,
    exchange_time_ns: Field<i64>,
    sequence: Field<i64>,
    session: Field<&'a [u8]>,
    trade_id: Field<&'a [u8]>,
    side: Field<&'a [u8]>,
    action: Field<&'a [u8]>,
    ref_trade_id: Field<&'a [u8]>,
    ref_session: Field<&'a [u8]>,
    receive_time_ns: Field<i64>,
    conditions: Field<Vec<&'a [u8]>>,
    vendor: Field<Pairs<'a>>,
    /// Fields that K2 does not know, with their text.
    others: Pairs<'a>,
}

pub fn read<'a>(raw: &Raw<'a>) -> Option<Found<'a>> {
    let mut scanner = Scanner::new(raw.value)?;
    let mut fields = Fields::default();
    scanner.object(|scanner, name| fields.read(scanner, name))?;
    scanner.end()?;
    fields.found(raw)
}

impl<'a> Fields<'a> {
    fn read(&mut self, scanner: &mut Scanner<'a>, name: &'a [u8]) -> Option<()> {
        match name {
            b"exchange" => self.exchange.text(scanner),
            b"symbol" => self.symbol.text(scanner),
            b"price" => self.price.number_text(scanner),
            b"quantity" => self.quantity.number_text(scanner),
            b"exchange_time_ns" => self.exchange_time_ns.integer(scanner),
            b"sequence" => self.sequence.integer(scanner),
            b"session" => self.session.text(scanner),
            b"trade_id" => self.trade_id.text(scanner),
            b"side" => self.side.text(scanner),
            b"action" => self.action.text(scanner),
            b"ref_trade_id" => self.ref_trade_id.text(scanner),
            b"ref_session" => self.ref_session.text(scanner),
            b"receive_time_ns" => self.receive_time_ns.integer(scanner),
            b"conditions" => self.conditions.texts(scanner),
            b"vendor" => self.vendor.pairs(scanner),
            _ => {
                let text = match scanner.scalar()? {
                    Scalar::Text(text) | Scalar::Number(text) => text,
                    Scalar::Bool(true) => b"true",
                    Scalar::Bool(false) => b"false",
                    Scalar::Null => b"null",
                };
                self.others.add(name, text)
            }
        }
    }

    fn found(mut self, raw: &Raw<'a>) -> Option<Found<'a>> {
        let (exchange, symbol) = (self.exchange.get()?, self.symbol.get()?);
        let named = raw.key.strip_prefix(exchange)?.strip_prefix(b":")?;
        if named != symbol || exchange.contains(&b':') {
            return None;
        }
        // A correction is looked at in Python, and so is a name that stands beside none.
        let is_new = matches!(self.action.get(), None | Some(b"new"));
        if !is_new || self.ref_trade_id.get().is_some() || self.ref_session.get().is_some() {
            return None;
        }
        let time_ns = self.exchange_time_ns.get()?;
        if !is_timely(time_ns, raw.append_time_ms) {
            return None;
        }
        let session = self.session.get();
        if session.is_some_and(|name| !is_session(name)) {
            return None;
        }
        let mut vendor = self.vendor.take();
        if !self.others.is_empty() {
            let kept = vendor.get_or_insert_default();
            for (name, text) in self.others.iter() {
                kept.add(name, text)?;
            }
        }
        let trade = Trade {
            symbol: None,
            trade_id: match self.trade_id.get() {
                Some(text) => Some(trade_id(text)?),
                None => None,
            },
            price: decimal(self.price.get()?)?,
            quantity: decimal(self.quantity.get()?)?,
            side: match self.side.get() {
                Some(side) => Some(side_of(side)?),
                None => None,
            },
            conditions: self.conditions.take(),
            time_ns,
            vendor,
        };
        let message = Message {
            sequence: self.sequence.get(),
            session,
            receive_time_ns: self.receive_time_ns.get(),
        };
        Some(Found { message, trades: vec![trade] })
    }
}

fn is_session(name: &[u8]) -> bool {
    (1..=MAX_SESSION_CHARS).contains(&name.len())
        && name.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

fn side_of(side: &[u8]) -> Option<&'static str> {
    match side {
        b"buy" => Some("buy"),
        b"sell" => Some("sell"),
        b"unknown" => Some("unknown"),
        _ => None,
    }
}
