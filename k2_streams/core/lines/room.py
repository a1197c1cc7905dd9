"""Which lines a partition tracks, from message to message: those that there is room for."""

import re

from k2_streams.core.lines.stats import MAX_LINE_STATS, LineKey
from k2_streams.core.lines.step import HOLD_MS, MAX_LINES

#: What a line may be called: it goes into events, paths of metrics and answers.
_NAME = re.compile(rb"[A-Za-z0-9._-]{1,32}")
#: Lines of one exchange that a partition tracks, so that a scope has room for all of them and
#: for messages without a line.
MAX_LINES_OF_EXCHANGE = MAX_LINES - 1


def line_name(value: bytes) -> str | None:
    """What a record's header names as its line; None: it is no name of one."""
    return value.decode("ascii") if _NAME.fullmatch(value) else None


class LineRoom:
    """The lines of a partition. It follows from the messages and their order, not from batches.

    At most `MAX_LINES_OF_EXCHANGE` lines of an exchange are tracked, and `MAX_LINE_STATS` in all. A
    line beyond takes the room of the one that was silent for longest, if that was longer than
    `HOLD_MS`; else its messages count as without a line.

    Args:
        seen_ms: of each line, stream time at its last message. It is changed.
    """

    def __init__(self, seen_ms: dict[LineKey, int]) -> None:
        self.seen_ms = seen_ms
        self.forgotten: set[LineKey] = set()

    def takes(self, key: LineKey, now_ms: int) -> bool:
        """Whether a message by this line counts as by this line."""
        if key not in self.seen_ms and not self._has_room(key[0], now_ms):
            return False
        self.seen_ms[key] = now_ms
        return True

    def _has_room(self, exchange: str, now_ms: int) -> bool:
        """Whether there is room for one more line of an exchange, made if need be."""
        rivals = [key for key in self.seen_ms if key[0] == exchange]
        if len(rivals) < MAX_LINES_OF_EXCHANGE:
            if len(self.seen_ms) < MAX_LINE_STATS:
                return True
            rivals = list(self.seen_ms)
        silent = min(rivals, key=lambda key: (self.seen_ms[key], key))
        if self.seen_ms[silent] > now_ms - HOLD_MS:
            return False
        del self.seen_ms[silent]
        self.forgotten.add(silent)
        return True
