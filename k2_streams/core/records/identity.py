"""What a message is called: `EXCHANGE|SYMBOL|SESSION|` and what distinguishes it, as one text.

`|` may occur in a symbol, a session and a trade id. So it is escaped in them, as `%7C`, and the
escape character as `%25`: two different messages never have the same text. Values with neither
character, which is nearly all, stand as they are. Tables of earlier versions hold ids that were not
escaped: whoever compares messages does so by their parts.
"""

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

SEPARATOR = "|"
#: In this order: what the second makes must not be escaped again.
ESCAPES = (("%", "%25"), (SEPARATOR, "%7C"))
#: Stands before a trade id.
BY_TRADE_ID = "t:"
_PARTS = 4


class TradeId(NamedTuple):
    """A trade by what its venue calls it."""

    exchange: str
    symbol: str
    session: str
    trade_id: str

    @property
    def message_id(self) -> str:
        """As text."""
        names = [escaped(part) for part in (self.exchange, self.symbol, self.session)]
        return SEPARATOR.join([*names, BY_TRADE_ID + escaped(self.trade_id)])


def escaped(text: str) -> str:
    """A part as it stands in an id."""
    for plain, code in ESCAPES:
        text = text.replace(plain, code)
    return text


def escaped_column(column: pa.Array) -> pa.Array:
    """`escaped` of each value of a column of text, or of a dictionary's words."""
    if pa.types.is_dictionary(column.type):
        words = escaped_column(column.dictionary)
        if words is column.dictionary:
            return column
        return pa.DictionaryArray.from_arrays(column.indices, words)
    data = column.buffers()[2]
    # One look at the bytes: a look at each value costs as much as making the ids.
    found = b"" if data is None else data.to_pybytes()
    if not any(plain.encode() in found for plain, _ in ESCAPES):
        return column
    for plain, code in ESCAPES:
        column = pc.replace_substring(column, plain, code)
    return column


def trade_of(message_id: str, exchange: str, symbol: str) -> TradeId:
    """The trade that a row of this exchange and symbol refers to (`ref_message_id`).

    Of an id that an earlier version wrote without escapes the session ends at the first `|t:`.
    """
    parts = [_unescaped(part) for part in message_id.split(SEPARATOR)]
    if len(parts) == _PARTS and None not in parts and parts[1] == symbol:
        return TradeId(exchange, symbol, parts[2] or "", (parts[3] or "")[len(BY_TRADE_ID) :])
    rest = message_id[len(exchange) + len(symbol) + 2 * len(SEPARATOR) :]
    session, _, trade_id = rest.partition(SEPARATOR + BY_TRADE_ID)
    return TradeId(exchange, symbol, session, trade_id)


def _unescaped(text: str) -> str | None:
    """The inverse of `escaped`; None of a text that it does not give."""
    plain = text
    for character, code in reversed(ESCAPES):
        plain = plain.replace(code, character)
    return plain if escaped(plain) == text else None
