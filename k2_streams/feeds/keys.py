"""Record keys: the scope of a record's sequence, as `EXCHANGE:SYMBOL`."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_streams.core import scopes
from k2_streams.feeds.decoded import Reason, refuse, shown

#: What an exchange may be called: it goes into keys, paths of metrics and ids.
EXCHANGE = re.compile(r"[A-Za-z0-9._-]{1,32}", re.ASCII)
#: Printable ASCII, blank included: option symbols hold blanks.
SYMBOL = re.compile(r"[\x20-\x7e]{1,64}")
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

    @property
    def text(self) -> str:
        """The key as it stands in the record."""
        return f"{self.exchange}:{self.symbol}"


@lru_cache(maxsize=_REMEMBERED_KEYS)
def parse(key: bytes) -> ScopeKey | None:
    """The parts of a key, which splits at its first ':'; None if it is no scope's key."""
    try:
        exchange, _, symbol = key.decode("ascii").partition(":")
    except UnicodeDecodeError:
        return None
    if EXCHANGE.fullmatch(exchange) and SYMBOL.fullmatch(symbol):
        return ScopeKey(exchange, symbol)
    return None


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """The keys of a batch, each distinct one parsed once."""

    scopes: list[str]  # distinct
    parts: list[ScopeKey]  # of each scope
    index: npt.NDArray[np.int32]  # of each record: which scope; -1 for no key or no scope's key

    @classmethod
    def of(cls, keys: list[bytes | None]) -> "KeyColumn":
        """Parse a batch's keys."""
        encoded = pa.array(keys, pa.binary()).dictionary_encode()
        parts: list[ScopeKey] = []
        place = np.full(len(encoded.dictionary) + 1, -1, dtype=np.int32)  # the last: no key
        for number, key in enumerate(encoded.dictionary.to_pylist()):
            found = parse(key)
            if found is not None:
                place[number] = len(parts)
                parts.append(found)
        indices = encoded.indices.fill_null(len(encoded.dictionary))
        index = place[indices.to_numpy(zero_copy_only=False)]
        return cls([part.text for part in parts], parts, index)


def agreeing(key: bytes | None, exchange: str, symbol: str | None) -> ScopeKey:
    """The parts of a key that must name this exchange and, unless None, this symbol.

    Raises:
        RefusedError: there is no key, or it names something else.
    """
    parts = None if key is None else parse(key)
    if parts is not None and parts.exchange == exchange and symbol in (None, parts.symbol):
        return parts
    expected = f"{exchange}:{'SYMBOL' if symbol is None else symbol}"
    if key is None:
        raise refuse(Reason.NULL_KEY, "key", f"expected {shown(expected)}, found none")
    detail = f"expected {shown(expected)}, found {shown(key)}"
    raise refuse(Reason.KEY_MISMATCH, "key", detail)
