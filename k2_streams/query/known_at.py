"""How far a log was known at a time: the accepted time of its rows, as offsets.

The accepted time is that of a row's checkpoint, and never goes back within a partition. So what was
known at a time are the rows below one offset per partition: behind the last row that was accepted
by then. It is looked for in the tail first, then in the lake, in windows of accepted time that
widen downwards. The offsets are the same from whichever part, node or snapshot they are found.

They may be believed once each partition has been read past that time (`ReadPoints.find`): up to a
record that was accepted later, or to an end that was found so much later that no transaction
accepted by then can still be open.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from k2_streams.query.errors import BeforeHistoryError
from k2_streams.query.read_point import ReadPoint
from k2_streams.query.reading import Reader
from k2_streams.query.token import Token

#: The first window of accepted time: some commits of the sink.
FIRST_WINDOW_US = 60_000_000
#: Each window is so many times as long as the one above it.
WIDER = 8
#: Windows before all that is left is looked through: 68 hours.
WINDOWS = 5
#: Times whose offsets are remembered: pages of questions as of some times; 1,000 partitions take
#: 100 KB.
MAX_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class KnownRows:
    """What was known of a log at a time.

    Attributes:
        token: of the rows.
        ends: the log was read to these offsets when it was found out: whatever was accepted by
            then lies below them.
    """

    token: Token
    ends: Mapping[int, int]


class KnownAt:
    """Finds what was known at a time, and remembers it. For one event loop."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._remembered: OrderedDict[tuple[str, int], KnownRows] = OrderedDict()

    async def find(self, read_point: ReadPoint, known_ns: int, deferred: int) -> KnownRows:
        """What was known at a time.

        Args:
            read_point: of everything, read past that time.
            known_ns: the time.
            deferred: source records that were deferred then.

        Raises:
            BeforeHistoryError: no row had been accepted by then.
        """
        key = read_point.topic_id, known_ns
        known = self._remembered.get(key)
        if known is None:
            offsets = await self._offsets(read_point, known_ns // 1_000)
            if not any(offsets.values()):
                raise BeforeHistoryError(known_ns)
            token = Token(read_point.topic_id, offsets, known_ns, deferred)
            known = self._remembered[key] = KnownRows(token, read_point.cut.next)
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        self._remembered.move_to_end(key)
        return known

    async def _offsets(self, read_point: ReadPoint, known_us: int) -> dict[int, int]:
        """Per partition the offset behind the last row accepted by then; 0: there is none."""
        cut = read_point.cut
        offsets = dict.fromkeys(cut.partitions, 0)
        for number, part in cut.partitions.items():
            for batch in read_point.view.batches({number: part.tail}):
                if batch.accepted_us > known_us:
                    break
                offsets[number] = batch.log_offset + 1
        left = {number for number, offset in offsets.items() if not offset}
        left &= {number for number, end in read_point.held.items() if end}
        to_us, window_us = known_us, FIRST_WINDOW_US
        for window in range(WINDOWS + 1):
            from_us = None if window == WINDOWS else to_us - window_us + 1
            if not left:
                break
            found = await self._reader.accepted(read_point, from_us, to_us)
            offsets |= {number: found[number] for number in left & found.keys()}
            left -= found.keys()
            to_us, window_us = to_us - window_us, window_us * WIDER
        return offsets
