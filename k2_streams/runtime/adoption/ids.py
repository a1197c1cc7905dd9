"""The trade ids that a partition remembers, from the rows of the last days.

A row does not say which feed it is of, so each id is remembered in every way in which a feed would
look for it (`runtime.task.row_ids`). One that no feed looks for costs 16 bytes and decides nothing.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.dedup.bloom import Hashes
from k2_streams.core.dedup.ids import Window, hashes_of
from k2_streams.core.records.derived import ref_trade_ids

COLUMNS = (
    "log_partition", "exchange", "symbol", "session", "sequence", "trade_id", "ingest_time",
    "ref_message_id",
)  # fmt: skip
TRADE_ID = "trade_id"


class RecentIds:
    """The ids of all partitions, by bucket.

    Args:
        window: how long an id is remembered.
        append_ms: per partition its stream time.
        connections: per partition and exchange the scopes of connections that rows may be of.
    """

    def __init__(
        self,
        window: Window,
        append_ms: Mapping[int, int],
        connections: Mapping[tuple[int, str], Sequence[str]],
    ) -> None:
        self._window = window
        self._append_ms = append_ms
        self._connections = connections
        self._hashes: dict[tuple[int, int], list[Hashes]] = {}

    def add(self, rows: pa.Table) -> None:
        """Take a portion of the rows, in any order."""
        rows = rows.filter(pc.is_valid(rows.column(TRADE_ID)))
        for partition in pc.unique(rows.column("log_partition")).to_pylist():
            of = rows.filter(pc.equal(rows.column("log_partition"), partition))
            ends = self._ends(partition, of)
            for end in np.unique(ends[ends >= 0]).tolist():
                ids = self._identities(partition, of.filter(pa.array(ends == end)))
                self._hashes.setdefault((partition, end), []).append(hashes_of(ids))

    def of(self, partition: int) -> dict[int, Hashes]:
        """Of a partition the ids of each bucket, each once, in the order of their hashes."""
        return {
            end: np.unique(np.concatenate(hashes), axis=0)
            for (number, end), hashes in sorted(self._hashes.items())
            if number == partition
        }

    def _ends(self, partition: int, rows: pa.Table) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """The bucket of each row; -1: it is not looked for any more, or no id of its own."""
        window = self._window
        now = window.bucket(self._append_ms.get(partition, 0))
        append_ms = rows.column("ingest_time").cast(pa.int64()).to_numpy() // 1_000
        ends = (append_ms // window.width_ms + 1) * window.width_ms
        live = ends + window.ttl_ms > now - window.width_ms
        refs = ref_trade_ids(rows)
        repeats = pc.equal(rows.column(TRADE_ID), refs).fill_null(False)  # noqa: FBT003 - pyarrow's
        own = ~repeats.to_numpy(zero_copy_only=False) if rows.num_rows else live
        return np.where(live & own, ends, -1)

    def _identities(self, partition: int, rows: pa.Table) -> list[bytes]:
        found: list[bytes] = []
        for row in rows.to_pylist():
            exchange, symbol, trade = row["exchange"], row["symbol"], row[TRADE_ID]
            # Where the id is the number the sequence decides.
            if row["sequence"] is not None and str(row["sequence"]) == trade:
                continue
            scopes = (f"{exchange}:{symbol}", *self._connections.get((partition, exchange), ()))
            sessions = ("",) if row["sequence"] is not None else ("", row["session"])
            found += [
                f"{scope}\0{symbol}\0{session}\0{trade}".encode()
                for scope in scopes
                for session in sessions
            ]
        return found
