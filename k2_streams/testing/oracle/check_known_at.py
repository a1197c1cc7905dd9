"""What an answer shows as known at a time, against the lake's files and the topic of events.

Files say of each row when it was accepted, and events of each gap when it was opened and filled.
Both are read without K2's queries, so the comparison knows nothing of how a time becomes a token.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.testing.oracle.report import Check

PLACE = ("log_partition", "log_offset", "log_row")
#: What is read of a row.
COLUMNS = ("exchange", *PLACE, "accepted_time")
#: Scope, session, first and last number.
GapKey = tuple[str, str, int, int]
_Places = npt.NDArray[np.void]


class KnownAtRows:
    """Rows that had been accepted by a time: where they lie in the log.

    Args:
        known_us: that time.
        exchanges: whose rows; others are nobody's business.
    """

    def __init__(self, known_us: int, exchanges: Collection[str]) -> None:
        self._known_us = known_us
        self._exchanges = pa.array(sorted(exchanges))
        self._accepted: list[_Places] = []
        self._shown: list[_Places] = []

    def add_accepted(self, batch: pa.RecordBatch) -> None:
        """Take rows of the lake, whenever they were accepted."""
        known = pc.less_equal(batch["accepted_time"].cast(pa.int64()), self._known_us)
        ours = pc.is_in(batch["exchange"], self._exchanges)
        self._accepted.append(_places(batch.filter(pc.and_(known, ours))))

    def add_shown(self, batch: pa.RecordBatch) -> None:
        """Take rows of the answer."""
        self._shown.append(_places(batch))

    def check(self) -> Check:
        """Every row that was known is shown once, and no other one."""
        accepted, shown = _joined(self._accepted), _joined(self._shown)
        check = Check("known at: rows", len(accepted), len(shown))
        distinct, times = np.unique(shown, return_counts=True)
        for text, places in (
            ("lacks", np.setdiff1d(accepted, distinct)),
            ("should not have", np.setdiff1d(distinct, accepted)),
            ("has more than once", distinct[times > 1]),
        ):
            for partition, offset, row in places.tolist():
                check.differ(f"the answer {text} row {row} of the log at {partition}:{offset}")
        return check


class KnownAtGaps:
    """Gaps that had been opened by a time, and those of them that had been filled.

    Args:
        known_us: that time.
        exchanges: as of `KnownAtRows`.
    """

    def __init__(self, known_us: int, exchanges: Collection[str]) -> None:
        self._known_us = known_us
        self._exchanges = exchanges
        self._opened: set[GapKey] = set()
        self._filled: set[GapKey] = set()

    def add(self, value: bytes | None) -> None:
        """Take an event as the topic holds it; what is unreadable is another check's."""
        try:
            event = msgspec.json.decode(value or b"", type=dict[str, Any])
            if event["accepted_time_us"] > self._known_us:
                return
            kept = {"gap_opened": self._opened, "gap_filled": self._filled}.get(event["type"])
            if kept is not None and self._is_ours(event["scope"]):
                kept.add(_key(event))
        except (msgspec.MsgspecError, KeyError, TypeError):
            return

    def checks(self, shown: Collection[Mapping[str, Any]]) -> Iterator[Check]:
        """The gaps of the answer against those that were known."""
        ours = [gap for gap in shown if self._is_ours(gap["scope"])]
        filled = {_key(gap) for gap in ours if gap["state"] == "filled"}
        yield _compared("known at: gaps", self._opened, {_key(gap) for gap in ours})
        yield _compared("known at: gaps that were filled", self._filled & self._opened, filled)

    def _is_ours(self, scope: str) -> bool:
        return scope.partition(":")[0] in self._exchanges


def _key(gap: Mapping[str, Any]) -> GapKey:
    return gap["scope"], gap["session"], gap["first"], gap["last"]


def _compared(name: str, wanted: set[GapKey], found: set[GapKey]) -> Check:
    check = Check(name, len(wanted), len(found))
    for text, keys in (("lacks", wanted - found), ("should not have", found - wanted)):
        for scope, session, first, last in sorted(keys):
            check.differ(f"the answer {text} {scope} {first}-{last} of session {session}")
    return check


def _places(batch: pa.RecordBatch) -> _Places:
    """A row's place as one value, so that sets of them can be compared."""
    found = np.empty(batch.num_rows, [("p", np.int32), ("o", np.int64), ("r", np.int32)])
    for name, column in zip("por", PLACE, strict=True):
        found[name] = batch[column].to_numpy(zero_copy_only=False)
    return found


def _joined(parts: list[_Places]) -> _Places:
    return np.concatenate(parts) if parts else _places(_NONE)


_NONE = pa.RecordBatch.from_pylist(
    [], pa.schema([(PLACE[0], pa.int32()), (PLACE[1], pa.int64()), (PLACE[2], pa.int32())])
)
