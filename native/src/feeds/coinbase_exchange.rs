//! Coinbase Exchange: `match` and `last_match`.

use super::{Found, key_names, stamped};
use crate::json::{Field, Pairs, Scanner};
use crate::numbers::{decimal, is_timely, rfc_3339};
use crate::trades::{Message, Raw, Trade, TradeId};

#[derive(Default)]
struct Fields<'a> {
    kind: Field<&'a [u8]>,
    product: Field<&'a [u8]>,
    id: Field<i64>,
    price: Field<&'a [u8]>,
    size: Field<&'a [u8]>,
    side: Field<&'a [u8]>,
    time: Field<&'a [u8]>,
    maker_order: Field<&'a [u8]>,
    taker_order: Field<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn read(&mut self, scanner: &mut Scanner<'a>, name: &[u8]) -> Option<()> {
        match name {
            b"type" => self.kind.text(scanner),
            b"product_id" => self.product.text(scanner),
            b"trade_id" => self.id.integer(scanner),
            b"price" => self.price.text(scanner),
            b"size" => self.size.text(scanner),
            b"side" => self.side.text(scanner),
            b"time" => self.time.text(scanner),
            b"maker_order_id" => self.maker_order.text(scanner),
            b"taker_order_id" => self.taker_order.text(scanner),
            _ => scanner.skip(),
        }
    }
}

pub fn read<'a>(raw: &Raw<'a>) -> Option<Found<'a>> {
    let stamped = stamped(raw.value)?;
    let mut scanner = Scanner::new(stamped.text)?;
    let mut fields = Fields::default();
    scanner.object(|scanner, name| fields.read(scanner, name))?;
    scanner.end()?;
    let kind = fields.kind.get()?;
    if !matches!(kind, b"match" | b"last_match") || !key_names(raw.key, &[fields.product.get()?]) {
        return None;
    }
    let count = fields.id.get()?;
    let time_ns = rfc_3339(fields.time.get()?).filter(|&ns| is_timely(ns, raw.append_time_ms))?;
    let mut orders = Pairs::default();
    let named: [(&[u8], _); 2] =
        [(b"maker_order_id", fields.maker_order), (b"taker_order_id", fields.taker_order)];
    for (name, order) in named {
        if let Some(order) = order.get() {
            orders.add(name, order)?;
        }
    }
    let trade = Trade {
        trade_id: Some(TradeId::Number(count)),
        price: decimal(fields.price.get()?)?,
        quantity: decimal(fields.size.get()?)?,
        // The message names the maker's side.
        side: match fields.side.get() {
            Some(b"buy") => Some("sell"),
            Some(b"sell") => Some("buy"),
            Some(_) => return None,
            None => None,
        },
        conditions: (kind == b"last_match").then(|| vec![kind]),
        time_ns,
        vendor: (!orders.is_empty()).then_some(orders),
        ..Trade::default()
    };
    let message =
        Message { sequence: Some(count), session: None, receive_time_ns: stamped.receive_time_ns };
    Some(Found { message, trades: vec![trade] })
}
