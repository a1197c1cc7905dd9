"""Bounds the volume of the log: the same event is written a few times per interval."""

import logging
import threading
from dataclasses import dataclass
from typing import TypeVar

#: The intervals of the sampler.
SAMPLE_INTERVAL_S = 10.0
#: Lines per interval of one event of K2, or of one message below WARNING of a library: a worker of
#: 60 partitions logs each of them, and a loop that fails at most 10 times per second.
SAME_EVENT_MAX = 100
#: Lines per interval of one and the same warning of a library. While a broker is down each of
#: aiokafka's clients retries every few milliseconds and logs it.
SAME_WARNING_MAX = 1
#: Different events that are counted at a time: more than K2 has. Text of libraries may differ
#: without end (addresses, offsets).
EVENTS_MAX = 256
#: Lines per interval and level of all events beyond those, together.
OTHER_EVENTS_MAX = 100

_OWN = ("k2_streams", "topologies", "__main__")
_Key = tuple[str, int, str]
_AnyKey = TypeVar("_AnyKey")


@dataclass(slots=True)
class _Written:
    since_s: float
    lines: int = 1
    suppressed: int = 0


class Sampler(logging.Filter):
    """Bounds how often the same event is written. Put it on a handler.

    Per interval of `SAMPLE_INTERVAL_S`: `SAME_EVENT_MAX` lines of an event of K2, whatever its
    fields, and `SAME_WARNING_MAX` of the same text of a library's warning. The first line of the
    event after its interval carries the number that was suppressed.

    `EVENTS_MAX` different events are counted at a time. An event whose interval is over makes room
    for another, and its number of suppressed lines is forgotten. While no interval is over, all
    further events share `OTHER_EVENTS_MAX` lines per interval and level. So the log has a bound,
    whatever is logged: (EVENTS_MAX * SAME_EVENT_MAX + 5 levels * OTHER_EVENTS_MAX) lines per
    interval.
    """

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[_Key, _Written] = {}
        self._others: dict[int, _Written] = {}  # by level
        self._full_until_s = 0.0  # no interval ends before
        self._lock = threading.Lock()

    @property
    def events(self) -> int:
        """How many different events are counted now, those beyond `EVENTS_MAX` as one per level."""
        return len(self._written) + len(self._others)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        key, lines_max = _key_of(record)
        with self._lock:
            if key in self._written or self._make_room(record.created):
                suppressed = _count(self._written, key, lines_max, record.created)
            else:
                level = min(record.levelno // 10 * 10, logging.CRITICAL)
                suppressed = _count(self._others, level, OTHER_EVENTS_MAX, record.created)
        if suppressed:
            _add_suppressed(record, suppressed)
        return suppressed is not None

    def _make_room(self, now_s: float) -> bool:
        """Whether one more event can be counted; those whose interval is over make room."""
        if len(self._written) < EVENTS_MAX:
            return True
        if self._full_until_s - SAMPLE_INTERVAL_S <= now_s < self._full_until_s:
            return False
        for key in [key for key, each in self._written.items() if not _is_within(each, now_s)]:
            del self._written[key]
        oldest_s = min((each.since_s for each in self._written.values()), default=now_s)
        self._full_until_s = oldest_s + SAMPLE_INTERVAL_S
        return len(self._written) < EVENTS_MAX


def _count(
    counted: dict[_AnyKey, _Written], key: _AnyKey, lines_max: int, now_s: float
) -> int | None:
    """Count a line: None if it is not written, else how many were suppressed before it."""
    written = counted.get(key)
    if written is None or not _is_within(written, now_s):
        counted[key] = _Written(now_s)
        return 0 if written is None else written.suppressed
    if written.lines < lines_max:
        written.lines += 1
        return 0
    written.suppressed += 1
    return None


def _is_within(written: _Written, now_s: float) -> bool:
    """By the records' own clock: set back, it starts a new interval."""
    return 0 <= now_s - written.since_s < SAMPLE_INTERVAL_S


def _key_of(record: logging.LogRecord) -> tuple[_Key, int]:
    """What counts as the same event, and how often it may be written per interval."""
    if isinstance(record.msg, dict):
        return (record.name, record.levelno, str(record.msg.get("event"))), SAME_EVENT_MAX
    if record.levelno < logging.WARNING or record.name.startswith(_OWN):
        return (record.name, record.levelno, str(record.msg)), SAME_EVENT_MAX
    return (record.name, record.levelno, record.getMessage()), SAME_WARNING_MAX


def _add_suppressed(record: logging.LogRecord, count: int) -> None:
    if isinstance(record.msg, dict):
        record.msg = {**record.msg, "suppressed": count}
    else:
        text = record.getMessage()
        record.msg, record.args = "%s (and %d times before)", (text, count)
