//! Trades of many messages as the columns that a feed gives.

use std::sync::Arc;

use ahash::AHashMap;
use arrow_array::builder::{
    Int32Builder, Int64Builder, ListBuilder, MapBuilder, MapFieldNames, StringBuilder,
};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, Date32Array, Decimal128Array, DictionaryArray, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow_schema::ArrowError;

use crate::json::Pairs;
use crate::numbers::day;
use crate::refusal::{Refusal, refuse};

/// What an exchange and a symbol may be called, where both are ASCII.
const MAX_EXCHANGE_CHARS: usize = 32;
const MAX_SYMBOL_CHARS: usize = 64;
const MAX_TRADE_ID_CHARS: usize = 128;

/// A record as the source has it.
#[derive(Clone, Copy)]
pub struct Raw<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub append_time_ms: i64,
}

/// A message that holds trades, each with the same scope, number and session.
pub struct Message<'a> {
    pub sequence: Option<i64>,
    pub session: Option<&'a [u8]>,
    pub receive_time_ns: Option<i64>,
}

/// A trade. Its texts are ASCII.
#[derive(Default)]
pub struct Trade<'a> {
    /// `None`: the key's.
    pub symbol: Option<&'a [u8]>,
    pub trade_id: Option<TradeId<'a>>,
    pub price: i128,
    pub quantity: i128,
    pub side: Option<&'static str>,
    pub conditions: Option<Vec<&'a [u8]>>,
    pub time_ns: i64,
    pub vendor: Option<Pairs<'a>>,
}

/// A trade's id, which is a text or its message's number.
#[derive(Clone, Copy)]
pub enum TradeId<'a> {
    Text(&'a [u8]),
    Number(i64),
}

/// An id that may be one.
pub fn trade_id(text: &[u8]) -> Option<TradeId<'_>> {
    (1..=MAX_TRADE_ID_CHARS).contains(&text.len()).then_some(TradeId::Text(text))
}

/// Whether ASCII text may be a symbol.
pub fn is_symbol(text: &[u8]) -> bool {
    (1..=MAX_SYMBOL_CHARS).contains(&text.len())
        && text.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

/// A key's exchange and symbol; `None` if it is no scope's key, or not ASCII.
pub fn scope_of(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = key.iter().position(|&byte| byte == b':')?;
    let (exchange, symbol) = (&key[..colon], &key[colon + 1..]);
    let is_exchange = (1..=MAX_EXCHANGE_CHARS).contains(&exchange.len())
        && exchange
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    (is_exchange && is_symbol(symbol)).then_some((exchange, symbol))
}

/// Distinct texts, numbered as they come; those of the records themselves, not copies of them.
#[derive(Default)]
struct Names<'a> {
    codes: AHashMap<&'a [u8], i32>,
    texts: StringBuilder,
}

impl<'a> Names<'a> {
    fn code(&mut self, name: &'a [u8]) -> Result<i32, Refusal> {
        if let Some(code) = self.codes.get(name) {
            return Ok(*code);
        }
        let code = number(self.codes.len())?;
        self.texts.append_value(text(name)?);
        self.codes.insert(name, code);
        Ok(code)
    }

    fn finish(mut self) -> StringArray {
        self.texts.finish()
    }

    fn encoded(self, codes: Vec<Option<i32>>) -> Result<ArrayRef, ArrowError> {
        let codes = Int32Array::from(codes);
        let encoded = DictionaryArray::<Int32Type>::try_new(codes, Arc::new(self.finish()))?;
        Ok(Arc::new(encoded))
    }
}

/// A scope's number, and those of the names in it.
#[derive(Clone, Copy)]
struct Scope {
    code: i32,
    exchange: i32,
    symbol: i32,
}

/// What a batch of messages becomes.
pub struct Decoded {
    /// One row per message that was taken.
    pub messages: RecordBatch,
    /// One row per trade; `message` is a row of `messages`.
    pub rows: RecordBatch,
    pub scopes: StringArray,
    pub sessions: StringArray,
}

pub struct Columns<'a> {
    scopes: AHashMap<&'a [u8], Scope>,
    scope_texts: StringBuilder,
    exchanges: Names<'a>,
    symbols: Names<'a>,
    sessions: Names<'a>,
    sides: Names<'a>,
    messages: Messages,
    rows: Rows,
}

#[derive(Default)]
struct Messages {
    place: Vec<i32>,
    scope: Vec<i32>,
    sequence: Vec<i64>,
    session: Vec<i32>,
    time_ns: Vec<i64>,
}

struct Rows {
    message: Vec<i32>,
    source_index: Vec<i32>,
    exchange: Vec<Option<i32>>,
    symbol: Vec<Option<i32>>,
    trade_id: StringBuilder,
    price: Vec<i128>,
    quantity: Vec<i128>,
    side: Vec<Option<i32>>,
    conditions: ListBuilder<StringBuilder>,
    time_ns: Vec<i64>,
    receive_time_ns: Int64Builder,
    day: Vec<i32>,
    vendor: MapBuilder<StringBuilder, StringBuilder>,
}

impl Default for Columns<'_> {
    fn default() -> Self {
        let names =
            MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
        Self {
            scopes: AHashMap::new(),
            scope_texts: StringBuilder::new(),
            exchanges: Names::default(),
            symbols: Names::default(),
            sessions: Names::default(),
            sides: Names::default(),
            messages: Messages::default(),
            rows: Rows {
                message: Vec::new(),
                source_index: Vec::new(),
                exchange: Vec::new(),
                symbol: Vec::new(),
                trade_id: StringBuilder::new(),
                price: Vec::new(),
                quantity: Vec::new(),
                side: Vec::new(),
                conditions: ListBuilder::new(StringBuilder::new()),
                time_ns: Vec::new(),
                receive_time_ns: Int64Builder::new(),
                day: Vec::new(),
                vendor: MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new()),
            },
        }
    }
}

impl<'a> Columns<'a> {
    /// Add a message whole; whether it was: not if its key is no scope's.
    ///
    /// Args: `place` in the batch; the times of `trades`, at least one, have been checked.
    pub fn append(
        &mut self,
        place: i32,
        key: &'a [u8],
        message: &Message<'a>,
        trades: &[Trade<'a>],
    ) -> Result<bool, Refusal> {
        let Some(scope) = self.scope(key)? else {
            return Ok(false);
        };
        let session = match message.session {
            Some(name) => self.sessions.code(name)?,
            None => -1,
        };
        let row = number(self.messages.place.len())?;
        for (index, trade) in trades.iter().enumerate() {
            self.append_row(row, number(index)?, scope, message, trade)?;
        }
        self.messages.place.push(place);
        self.messages.scope.push(scope.code);
        self.messages.sequence.push(message.sequence.unwrap_or(-1));
        self.messages.session.push(session);
        let latest = trades.iter().map(|trade| trade.time_ns).max();
        self.messages.time_ns.push(latest.unwrap_or(0));
        Ok(true)
    }

    fn scope(&mut self, key: &'a [u8]) -> Result<Option<Scope>, Refusal> {
        if let Some(scope) = self.scopes.get(key) {
            return Ok(Some(*scope));
        }
        let Some((exchange, symbol)) = scope_of(key) else {
            return Ok(None);
        };
        let scope = Scope {
            code: number(self.scopes.len())?,
            exchange: self.exchanges.code(exchange)?,
            symbol: self.symbols.code(symbol)?,
        };
        self.scope_texts.append_value(text(key)?);
        self.scopes.insert(key, scope);
        Ok(Some(scope))
    }

    fn append_row(
        &mut self,
        row: i32,
        index: i32,
        scope: Scope,
        message: &Message<'a>,
        trade: &Trade<'a>,
    ) -> Result<(), Refusal> {
        let symbol = match trade.symbol {
            Some(name) => self.symbols.code(name)?,
            None => scope.symbol,
        };
        let side = trade.side.map(|name| self.sides.code(name.as_bytes())).transpose()?;
        let rows = &mut self.rows;
        rows.message.push(row);
        rows.source_index.push(index);
        rows.exchange.push(Some(scope.exchange));
        rows.symbol.push(Some(symbol));
        match trade.trade_id {
            Some(TradeId::Text(name)) => rows.trade_id.append_value(text(name)?),
            Some(TradeId::Number(number)) => rows.trade_id.append_value(number.to_string()),
            None => rows.trade_id.append_null(),
        }
        rows.price.push(trade.price);
        rows.quantity.push(trade.quantity);
        rows.side.push(side);
        for name in trade.conditions.iter().flatten() {
            rows.conditions.values().append_value(text(name)?);
        }
        rows.conditions.append(trade.conditions.is_some());
        rows.time_ns.push(trade.time_ns);
        rows.receive_time_ns.append_option(message.receive_time_ns);
        rows.day.push(day(trade.time_ns).ok_or(refuse("a day beyond 32 bits"))?);
        for (name, value) in trade.vendor.iter().flat_map(Pairs::iter) {
            rows.vendor.keys().append_value(text(name)?);
            rows.vendor.values().append_value(text(value)?);
        }
        let appended = rows.vendor.append(trade.vendor.is_some());
        appended.map_err(|_| refuse("attributes that no column holds"))
    }

    pub fn finish(mut self) -> Result<Decoded, ArrowError> {
        let messages = self.messages;
        let rows = self.rows;
        Ok(Decoded {
            messages: RecordBatch::try_from_iter([
                ("place", integers(messages.place)),
                ("scope", integers(messages.scope)),
                ("sequence", Arc::new(Int64Array::from(messages.sequence)) as ArrayRef),
                ("session", integers(messages.session)),
                ("event_time_ns", Arc::new(Int64Array::from(messages.time_ns))),
            ])?,
            rows: rows.finish(self.exchanges, self.symbols, self.sides)?,
            scopes: self.scope_texts.finish(),
            sessions: self.sessions.finish(),
        })
    }
}

impl Rows {
    fn finish(
        mut self,
        exchanges: Names,
        symbols: Names,
        sides: Names,
    ) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_from_iter([
            ("message", integers(self.message)),
            ("source_index", integers(self.source_index)),
            ("exchange", exchanges.encoded(self.exchange)?),
            ("symbol", symbols.encoded(self.symbol)?),
            ("trade_id", Arc::new(self.trade_id.finish()) as ArrayRef),
            ("price", decimals(self.price)?),
            ("quantity", decimals(self.quantity)?),
            ("side", sides.encoded(self.side)?),
            ("conditions", Arc::new(self.conditions.finish())),
            ("exchange_time_ns", Arc::new(Int64Array::from(self.time_ns))),
            ("receive_time_ns", Arc::new(self.receive_time_ns.finish())),
            ("trading_date", Arc::new(Date32Array::from(self.day))),
            ("vendor", Arc::new(self.vendor.finish())),
        ])
    }
}

fn number(count: usize) -> Result<i32, Refusal> {
    i32::try_from(count).map_err(|_| refuse("more than a batch holds"))
}

fn text(bytes: &[u8]) -> Result<&str, Refusal> {
    str::from_utf8(bytes).map_err(|_| refuse("a text that is no UTF-8"))
}

fn integers(values: Vec<i32>) -> ArrayRef {
    Arc::new(Int32Array::from(values))
}

fn decimals(values: Vec<i128>) -> Result<ArrayRef, ArrowError> {
    let found = Decimal128Array::from(values).with_precision_and_scale(38, 18)?;
    Ok(Arc::new(found))
}

/// Numbers of the records that were not taken.
#[derive(Default)]
pub struct Left(Int32Builder);

impl Left {
    pub fn push(&mut self, place: i32) {
        self.0.append_value(place);
    }

    pub fn finish(mut self) -> Int32Array {
        self.0.finish()
    }
}
