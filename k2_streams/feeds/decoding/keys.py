"""Record keys: the scope of a record's sequence, as `EXCHANGE:SYMBOL`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from k2_streams.core.records.bytes_column import BytesColumn
from k2_streams.core.records.symbols import SYMBOL_RULE, is_symbol
from k2_streams.core.sequence import scopes
from k2_streams.feeds.decoding.decoded import Reason, refuse, shown

#: What an exchange may be called: it goes into keys, paths of metrics and ids.
EXCHANGE = re.compile(r"[A-Za-z0-9._-]{1,32}", re.ASCII)
#: Begins the name of a connection: `EXCHANGE:@CONNECTION`.
CONNECTION = scopes.CONNECTION
#: Stands between a symbol and the channel that is counted apart: `EXCHANGE:SYMBOL@CHANNEL`.
CHANNEL = "@"
#: Keys that a process remembers in parsed form: every symbol of a large venue, some 20 MB.
_REMEMBERED_KEYS = 65_536


class ScopeKey(NamedTuple):
    """A record's key, parsed."""

    exchange: str
    symbol: str
    text: str  # the key as it stands in the record


@lru_cache(maxsize=_REMEMBERED_KEYS)
def parse(key: bytes) -> ScopeKey | None:
    """The parts of a key, UTF-8, which splits at its first ':'; None if it is no scope's key."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None
    exchange, _, symbol = text.partition(":")
    if EXCHANGE.fullmatch(exchange) and is_symbol(symbol):
        return ScopeKey(exchange, symbol, text)
    return None


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """The keys of a batch, each distinct one parsed once."""

    scopes: list[str]  # distinct
    parts: list[ScopeKey]  # of each scope
    index: npt.NDArray[np.int32]  # of each record: which scope; -1 for no key or no scope's key

    @classmethod
    def of(cls, keys: Sequence[bytes | None]) -> "KeyColumn":
        """Parse a batch's keys."""
        encoded = BytesColumn.of(keys).array.dictionary_encode()
        found = list(map(parse, encoded.dictionary.to_pylist()))
        parts = [part for part in found if part is not None]
        is_scope = np.array([part is not None for part in found], np.bool_)
        place = np.where(is_scope, np.cumsum(is_scope) - 1, -1).astype(np.int32)
        indices = encoded.indices.fill_null(len(found)).to_numpy(zero_copy_only=False)
        index = np.append(place, np.int32(-1))[indices]  # the last: no key
        return cls([part.text for part in parts], parts, index)


def agreeing(key: bytes | None, exchange: str | None, symbol: str | None) -> ScopeKey:
    """The parts of a key that must name this exchange and this symbol.

    Args:
        key: of the record.
        exchange: None: any. One protocol serves several venues, and the key says which one it is.
        symbol: None: any.

    Raises:
        RefusedError: there is no key, or it names something else, or no symbol at all.
    """
    parts = None if key is None else parse(key)
    if parts is not None and exchange in (None, parts.exchange) and symbol in (None, parts.symbol):
        return parts
    expected = f"{exchange or 'EXCHANGE'}:{'SYMBOL' if symbol is None else symbol}"
    if key is None:
        raise refuse(Reason.NULL_KEY, "key", f"expected {shown(expected)}, found none")
    if symbol is not None and not is_symbol(symbol):
        detail = f"expected {SYMBOL_RULE}, found {shown(symbol)}"
        raise refuse(Reason.BAD_SYMBOL, "symbol", detail)
    if parts is None and _names_no_symbol(key):
        detail = f"expected EXCHANGE:SYMBOL, a symbol {SYMBOL_RULE}, found {shown(key)}"
        raise refuse(Reason.BAD_SYMBOL, "key", detail)
    detail = f"expected {shown(expected)}, found {shown(key)}"
    raise refuse(Reason.KEY_MISMATCH, "key", detail)


def _names_no_symbol(key: bytes) -> bool:
    """Whether a key that cannot be parsed names an exchange, and what follows is at fault."""
    exchange, colon, symbol = key.decode(errors="replace").partition(":")
    return bool(EXCHANGE.fullmatch(exchange) and colon and symbol)


def is_of_connection(key: bytes | None) -> bool:
    """Whether a key names a connection, not a symbol."""
    parts = None if key is None else parse(key)
    return parts is not None and parts.symbol.startswith(CONNECTION)


def of_control(key: bytes | None, symbol: str | None) -> ScopeKey:
    """The parts of the key of a message that counts nothing: its symbol's, or a connection's.

    A market may stand before the connection (`BINANCE:usdm:@feed-1`).

    Raises:
        RefusedError: as `agreeing`.
    """
    parts = agreeing(key, None, None)
    is_connection = parts.symbol.rpartition(":")[2].startswith(CONNECTION)
    return parts if is_connection else agreeing(key, None, symbol)
