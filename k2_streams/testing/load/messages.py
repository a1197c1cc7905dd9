"""Synthetic messages as the bytes of raw records, made with `%` from one template per symbol."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from k2_streams.testing.load.invalid import KINDS, Good, InvalidRecord
from k2_streams.testing.load.synthetic import PRICE_DECIMALS, QUANTITY_DECIMALS, Messages

_SIDES = (b"buy", b"sell")
_PRICE_UNIT = 10**PRICE_DECIMALS
_QUANTITY_UNIT = 10**QUANTITY_DECIMALS

_PRICE = b'"%%d.%%0%dd"' % PRICE_DECIMALS
_QUANTITY = b'"%%d.%%0%dd"' % QUANTITY_DECIMALS
_TRADE = b'"price":%s,"quantity":%s,' % (_PRICE, _QUANTITY)
_QUOTE = b'"bid_price":%s,"bid_quantity":%s,"ask_price":%s,"ask_quantity":%s,' % (
    (_PRICE, _QUANTITY) * 2
)
_NUMBERED = b'"exchange_time_ns":%d,"sequence":%d'

Headers = list[tuple[str, bytes]]


#: Key, value, headers: a plain tuple, a million of which are made in a few seconds.
Record = tuple[bytes | None, bytes | None, Headers]


class Names:
    """How the plan's numbers are called: scopes and sessions.

    Args:
        exchange: of all symbols.
        symbols: how many: `S0000`, `S0001` and so on.
        session: the stem of declared session names (`stem.0`, `stem.1`); None: messages name no
            session, and K2 calls them "0", "1" and so on.
    """

    def __init__(self, exchange: str, symbols: int, session: str | None) -> None:
        digits = max(4, len(str(symbols - 1)))
        self.exchange = exchange
        self.symbols = [f"S{number:0{digits}}" for number in range(symbols)]
        self.scopes = [f"{exchange}:{symbol}" for symbol in self.symbols]
        self.keys = [scope.encode() for scope in self.scopes]
        self._stem = session

    @property
    def declared(self) -> bool:
        """Whether messages name their session."""
        return self._stem is not None

    def session(self, number: int) -> str:
        """The name of a symbol's session, counted from 0."""
        return str(number) if self._stem is None else f"{self._stem}.{number}"


class Encoder:
    """Turns messages into records."""

    def __init__(
        self,
        names: Names,
        partition_of: Callable[[bytes], int],
        partition_count: int,
        stream: str = "trades",
        *,
        ids: bool = False,
    ) -> None:
        """Take names, the partition of a key, how many partitions there are, and what is sent.

        With `ids` a message's number is sent as its trade id.
        """
        self._quotes = stream == "quotes"
        self._names = names
        self._partition_of = partition_of
        self._partition_count = partition_count
        self._homes = np.array([partition_of(key) for key in names.keys], np.int32)
        session = b',"session":"%s"' if names.declared else b"%s"
        self._templates = [
            b'{"exchange":"%s","symbol":"%s",' % (names.exchange.encode(), symbol.encode())
            + (_QUOTE if self._quotes else _TRADE)
            + (b'"exchange_time_ns":%d,"trade_id":"%d"' if ids else _NUMBERED)
            + session
            + (b"}" if self._quotes else b',"side":"%s"}')
            for symbol in names.symbols
        ]
        self._sessions: list[bytes] = []

    def by_partition(self, messages: Messages) -> Iterator[tuple[int, list[Record]]]:
        """The records of each partition, each partition's in sending order."""
        home = self._homes[messages["symbol"]]
        for partition in np.unique(home).tolist():
            chosen = messages[home == partition]
            records = self._records(chosen)
            elsewhere = []
            for at in np.flatnonzero(chosen["bad"] >= 0).tolist():
                sent = self._spoiled(chosen[at])
                records[at] = (sent.key, sent.value, _feed_header(sent.feed))
                goes_to = self._partition_of_record(sent, partition)
                if goes_to != partition:
                    elsewhere.append(at)
                    yield goes_to, [records[at]]
            for at in reversed(elsewhere):
                del records[at]
            yield partition, records

    def worth(self, messages: Messages) -> npt.NDArray[np.int64]:
        """What each row is worth in a truth. An ask is one tick above its bid."""
        price = messages["price"]
        if self._quotes:
            price = 2 * price + 1
        worth: npt.NDArray[np.int64] = price * messages["quantity"]
        return worth

    def _partition_of_record(self, sent: InvalidRecord, home: int) -> int:
        """Where a spoiled record goes: to its key's partition, unless being elsewhere is its fault.

        One without a key stays with its symbol.
        """
        partition = home if sent.key is None else self._partition_of(sent.key)
        return (partition + 1) % self._partition_count if sent.misplaced else partition

    def _records(self, messages: Messages) -> list[Record]:
        symbols = messages["symbol"].tolist()
        quantity = np.divmod(messages["quantity"], _QUANTITY_UNIT)
        numbers: list[npt.NDArray[np.int64]] = []
        for side in range(2 if self._quotes else 1):
            numbers += [*np.divmod(messages["price"] + side, _PRICE_UNIT), *quantity]
        fields = zip(
            *(column.tolist() for column in numbers),
            messages["time_ns"].tolist(),
            messages["sequence"].tolist(),
            self._session_texts(messages),
            *([] if self._quotes else [[_SIDES[side] for side in messages["side"].tolist()]]),
            strict=True,
        )
        keys, templates, none = self._names.keys, self._templates, _NO_HEADERS
        return [
            (keys[symbol], templates[symbol] % values, none)
            for symbol, values in zip(symbols, fields, strict=True)
        ]

    def _session_texts(self, messages: Messages) -> list[bytes]:
        if not self._names.declared:
            return [b""] * len(messages)
        numbers = messages["session"].tolist()
        for number in range(len(self._sessions), max(numbers, default=-1) + 1):
            self._sessions.append(self._names.session(number).encode())
        return [self._sessions[number] for number in numbers]

    def _spoiled(self, message: np.void) -> InvalidRecord:
        symbol = self._names.symbols[int(message["symbol"])]
        fields = {
            "exchange": self._names.exchange,
            "symbol": symbol,
            "price": decimal_text(int(message["price"]), PRICE_DECIMALS),
            "quantity": decimal_text(int(message["quantity"]), QUANTITY_DECIMALS),
            "exchange_time_ns": int(message["time_ns"]),
            "side": _SIDES[int(message["side"])].decode(),
        }
        if message["sequence"] >= 0:
            fields["sequence"] = int(message["sequence"])
        if self._names.declared:
            fields["session"] = self._names.session(int(message["session"]))
        return KINDS[int(message["bad"])].spoil(Good(self._names.exchange, symbol, fields))


#: Shared by all records: aiokafka reads it and never keeps it.
_NO_HEADERS: Headers = []


def _feed_header(feed: str | None) -> Headers:
    return [("feed", feed.encode())] if feed else _NO_HEADERS


def decimal_text(units: int, decimals: int) -> str:
    """123456 with 2 decimals is "1234.56"."""
    whole, rest = divmod(units, 10**decimals)
    return f"{whole}.{rest:0{decimals}}"
