"""The numbers that have rows, of every scope: read from the table piece by piece.

A portion of rows becomes ranges of numbers without a hole, so that what is in memory grows with the
gaps, and not with the rows.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.adoption.rebuild import FirstArrival, RowRange, joined
from k2_streams.core.sequence.scopes import own_scope

#: Of a row what its range is made of.
COLUMNS = (
    "log_partition", "exchange", "symbol", "session", "sequence", "exchange_time_ns",
    "accepted_time", "source_offset",
)  # fmt: skip
#: Ranges of a session that wait to be joined.
_MAX_APART = 64

Int64s = npt.NDArray[np.int64]


class SessionKey(NamedTuple):
    """A session of a scope."""

    partition: int
    scope: str
    session: str


#: Per partition, exchange and session the connection that it was of.
Connections = Mapping[tuple[int, str, str], str]


class RowNumbers:
    """The ranges of all sessions.

    Args:
        certain_us: per partition the time before which accepted rows are certain.
        connections: whose rows count in the scope of their connection, not in their symbol's.
    """

    def __init__(self, certain_us: Mapping[int, int], connections: Connections) -> None:
        self._certain_us = certain_us
        self._connections = connections
        self._ranges: dict[SessionKey, list[RowRange]] = {}

    def add(self, rows: pa.Table) -> None:
        """Take a portion of the rows, in any order."""
        rows = rows.filter(pc.is_valid(rows.column("sequence")))
        if not rows.num_rows:
            return
        names = pc.binary_join_element_wise(
            rows.column("log_partition").cast(pa.string()),
            *(rows.column(name) for name in ("exchange", "symbol", "session")),
            "\0",
        )
        encoded = names.combine_chunks().dictionary_encode()
        keys = [self._key(name) for name in encoded.dictionary.to_pylist()]
        for code, one in _ranges(_NumberColumns.of(rows, encoded.indices, keys, self._certain_us)):
            ranges = self._ranges.setdefault(keys[code], [])
            ranges.append(one)
            if len(ranges) > _MAX_APART and len(ranges) & (len(ranges) - 1) == 0:
                ranges[:] = joined(ranges)

    def scopes(self) -> dict[tuple[int, str], dict[str, list[RowRange]]]:
        """Per partition and scope the sessions' ranges."""
        found: dict[tuple[int, str], dict[str, list[RowRange]]] = {}
        for key, ranges in self._ranges.items():
            found.setdefault((key.partition, key.scope), {})[key.session] = joined(ranges)
        return found

    def _key(self, name: str) -> SessionKey:
        partition, exchange, symbol, session = name.split("\0", 3)
        connection = self._connections.get((int(partition), exchange, session))
        return SessionKey(int(partition), connection or own_scope(exchange, symbol), session)


class _NumberColumns(NamedTuple):
    """Of numbered rows, by key and number."""

    code: Int64s
    sequence: Int64s
    time_ns: Int64s
    accepted_us: Int64s
    source_offset: Int64s
    certain: Int64s  # the number, or -1

    @classmethod
    def of(
        cls,
        rows: pa.Table,
        code: pa.Array,
        keys: Iterable[SessionKey],
        certain_us: Mapping[int, int],
    ) -> "_NumberColumns":
        codes = code.to_numpy().astype(np.int64)
        sequence, time_ns, accepted_us, source_offset = (
            rows.column(name).cast(pa.int64()).to_numpy()
            for name in ("sequence", "exchange_time_ns", "accepted_time", "source_offset")
        )
        before_us = np.array([certain_us.get(key.partition, 0) for key in keys], np.int64)[codes]
        certain = np.where(accepted_us < before_us, sequence, -1)
        order = np.lexsort((source_offset, accepted_us, sequence, codes))
        columns = (codes, sequence, time_ns, accepted_us, source_offset, certain)
        return cls(*(column[order] for column in columns))


def _ranges(rows: _NumberColumns) -> Iterator[tuple[int, RowRange]]:
    code, sequence = rows.code, rows.sequence
    begins = (np.diff(code) != 0) | (np.diff(sequence) > 1)
    starts = np.flatnonzero(np.concatenate(([True], begins)))
    lasts = np.append(starts[1:], len(code)) - 1
    arrival = np.lexsort((rows.source_offset, rows.accepted_us))
    rank = np.empty(len(arrival), np.int64)
    rank[arrival] = np.arange(len(arrival))
    earliest = arrival[np.minimum.reduceat(rank, starts)]
    columns = (
        code[starts],
        sequence[starts],
        sequence[lasts],
        rows.time_ns[starts],
        rows.time_ns[lasts],
        np.maximum.reduceat(rows.time_ns, starts),
        np.minimum.reduceat(rows.time_ns, starts),
        lasts - starts + 1,
        rows.accepted_us[earliest],
        rows.source_offset[earliest],
        rows.time_ns[earliest],
        np.maximum.reduceat(rows.certain, starts),
    )
    for one, *of, accepted_us, offset, time_ns, certain in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        yield one, RowRange._make((*of, FirstArrival(accepted_us, offset), time_ns, certain))
