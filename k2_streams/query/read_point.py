"""Where an answer stands: the tail's view, the lake's snapshot, and the cut between them.

1. Take the tail's view.
2. Take the snapshot this node has loaded. It must come after the view: what the tail had evicted
   by then is in it, so no row is in neither part.
3. Cut: per partition the snapshot answers below its vector, the tail from there on, so no row
   is in both. If the snapshot holds less than the tail has evicted, load a newer one.
4. If what was asked for is in neither part yet, wait for the tail, bounded, and begin again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from k2_streams.clock import Clock
from k2_streams.core.query.union_read import Ahead, Behind, Cut, cut_at, cut_now
from k2_streams.failpoints import failpoint
from k2_streams.lake.snapshots import Head
from k2_streams.query.errors import BehindError, InvalidParameter, LakeUnavailable, NotYetError
from k2_streams.query.lake_view import LakeView
from k2_streams.query.tail.store import PartitionView, Tail, TailView
from k2_streams.query.token import Token
from k2_streams.query.waiting import Waiting

#: A checkpoint's transaction is committed within this after its accepted time, or never: a task
#: gives it up after 10 s (`runtime.task.checkpoint`), and as long again for clocks that differ.
#: So an end of the log that was found later than this holds every row that was accepted by then.
SETTLED_AFTER_S = 20
#: Times a newer snapshot is looked for before the asker is told to come back.
MAX_RELOADS = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """How far an answer must, or may, reach."""

    at: Token | None = None  # exactly there
    min_offsets: Mapping[int, int] | None = None  # source offsets that must have been processed
    wait_ms: int = 0
    known_ns: int | None = None  # every row accepted by this time must have been read


@dataclass(frozen=True, slots=True)
class ReadPoint:
    """The tail's view, the lake's snapshot, and the cut: what of each is in the answer."""

    view: TailView
    head: Head
    topic: str
    held: dict[int, int]  # per partition the next offset that the snapshot does not hold
    cut: Cut
    topic_id: str

    @property
    def deferred(self) -> int:
        """Deferred source records at the offsets of `cut`, which must be the newest.

        Of each partition as the part says that reaches further: the tail or the snapshot.
        """
        offsets = self.head.vector.topics.get(self.topic)
        of_lake = {} if offsets is None else offsets.deferred
        tails = self.view.partitions
        return sum(
            tails[number].deferred
            if number in tails and tails[number].end >= end
            else of_lake.get(number, 0)
            for number, end in self.cut.next.items()
        )


class ReadPoints:
    """Finds read points. For one event loop.

    Args:
        tail: of this node.
        lake: of this node.
        clock: of waits.
        partitions: of the source topic; None: not known, then every partition is waited for.
    """

    def __init__(
        self, tail: Tail, lake: LakeView, clock: Clock, partitions: int | None = None
    ) -> None:
        self._partitions = partitions
        self._tail = tail
        self._lake = lake
        self._clock = clock
        self._waiting = Waiting(tail)

    async def refresh(self) -> Head:
        """Load the newest snapshot, then evict what it holds from the tail; in this order.

        Raises:
            LakeUnavailable: the catalog does not answer.
        """
        head = await self._lake.refresh()
        failpoint("tail.evicting")
        self._tail.evict(head.vector)
        failpoint("tail.evicted")
        return head

    async def find(self, wanted: Wanted) -> ReadPoint:
        """A read point that reaches as far as wanted.

        Raises:
            NotYetError: it does not, within the time given.
            BehindError: no snapshot holds what the tail has evicted.
            LakeUnavailable: no snapshot was ever loaded, and the catalog does not answer.
            InvalidParameter: the token is of another log, a partition does not exist, or a time
                lies ahead.
        """
        self._check_partitions(wanted.min_offsets or {})
        self._check_time(wanted.known_ns)
        deadline_s = self._clock.monotonic() + wanted.wait_ms / 1e3
        reloads = 0
        while True:
            version = self._tail.version
            view = self._tail.view()
            head = self._lake.head or await self.refresh()
            topic_id = self._topic_id(head, wanted.at)
            held = self._held(head)
            cut = (
                cut_now(held, view.ranges)
                if wanted.at is None
                else cut_at(wanted.at.next, held, view.ranges)
            )
            if isinstance(cut, Behind):
                if reloads == MAX_RELOADS:
                    raise BehindError(cut.partition, cut.evicted, cut.held)
                reloads += 1
                await self.refresh()
                continue
            short = cut if isinstance(cut, Ahead) else self._short(view, wanted)
            if isinstance(cut, Cut) and short is None:
                return ReadPoint(view, head, self._tail.topic, held, cut, topic_id)
            left_s = deadline_s - self._clock.monotonic()
            if left_s <= 0 or not await self._waiting.changed(version, left_s):
                assert short is not None  # noqa: S101 - one of the two was too short
                what = "that far" if wanted.known_ns is None else "past known_at (in ns)"
                raise NotYetError(f"the node has not read {what}", short.wanted, short.found)

    def _check_partitions(self, offsets: Mapping[int, int]) -> None:
        """A partition that does not exist never gets there: it is not waited for."""
        for number in sorted(offsets):
            if self._partitions is not None and number >= self._partitions:
                raise InvalidParameter(
                    "min_offsets",
                    f"partition {number} does not exist: expected 0 to {self._partitions - 1}",
                )

    def _check_time(self, known_ns: int | None) -> None:
        """What will be known later nobody knows; a clock that is a little ahead does no harm."""
        now_ns = self._clock.time_ns()
        if known_ns is not None and known_ns > now_ns + SETTLED_AFTER_S * 10**9:
            raise InvalidParameter(
                "known_at", f"expected a time that has passed (now {now_ns}), found {known_ns}"
            )

    def _short(self, view: TailView, wanted: Wanted) -> Ahead | None:
        """What the view lacks of what was asked for; of a token nothing more than its offsets."""
        if wanted.at is not None:
            return None
        late = [number for number in view.partitions if not self._tail.ready(number)]
        if late:
            found = {number: view.partitions[number].end for number in late}
            return Ahead({number: self._tail.ready_at(number) for number in late}, found)
        if wanted.known_ns is not None:
            return self._short_of_time(view, wanted.known_ns)
        asked = wanted.min_offsets or {}
        parts = view.partitions
        processed = {number: parts[number].raw_next if number in parts else 0 for number in asked}
        if all(processed[number] > offset for number, offset in asked.items()):
            return None
        return Ahead({number: offset + 1 for number, offset in asked.items()}, processed)

    def _short_of_time(self, view: TailView, known_ns: int) -> Ahead | None:
        """The partitions in which rows accepted by a time may still have to be read."""
        numbers = view.partitions if self._partitions is None else range(self._partitions)
        through = {
            number: known_through_ns(view.partitions[number]) if number in view.partitions else 0
            for number in numbers
        }
        late = {number: ns for number, ns in through.items() if ns < known_ns}
        return Ahead(dict.fromkeys(late, known_ns), late) if late or not through else None

    def _held(self, head: Head) -> dict[int, int]:
        offsets = head.vector.topics.get(self._tail.topic)
        return {} if offsets is None else offsets.next

    def _topic_id(self, head: Head, token: Token | None) -> str:
        ours = self._tail.topic_id
        held = head.vector.id_of(self._tail.topic)
        if ours and held is not None and held != ours:
            raise LakeUnavailable(
                f"{self._tail.topic}: the lake holds offsets of topic id {held}, "
                f"this node reads topic id {ours}"
            )
        found = ours or held or ""
        if token is not None and token.topic_id != found:
            check_lost(token, head, "as_of")
        return found


def check_lost(token: Token, head: Head, field: str) -> None:
    """A token of a log that was lost is answered, as far as its rows had reached the lake.

    Raises:
        InvalidParameter: it is of another log, or reaches behind what is left of its own.
    """
    lost = next((one for one in head.lost if one.id == token.topic_id), None)
    if lost is None:
        raise InvalidParameter(field, "the token is of another log")
    if not lost.holds(token.next):
        raise InvalidParameter(
            field, "the token has rows that were lost with their log, before they reached the lake"
        )


def known_through_ns(part: PartitionView) -> int:
    """Every row of a partition that was accepted up to this time has been read.

    A record may have the accepted time of the one before it, so that of the last is not past yet.
    """
    by_record = part.accepted_us * 1_000 - 1
    return max(by_record, part.read_to_ns - SETTLED_AFTER_S * 10**9)
