"""What the sequencer found out: the records of `k2.sequence-events`.

One JSON object a record, `type` first. Ranges are inclusive on both ends, as FIX's BeginSeqNo and
EndSeqNo are. `source_partition` and `source_offset` are of the raw record that brought it about.
"""

from typing import Any, cast, get_args

import msgspec

#: A gap of more numbers than this is a large one.
SMALL_GAP_MAX = 10


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What every event says."""

    scope: str  # the key of the sequence: EXCHANGE:SYMBOL where it counts per symbol
    session: str
    source_partition: int = -1
    source_offset: int = -1
    exchange_time_ns: int = 0  # of the message that brought it about
    accepted_time_us: int = 0  # of the checkpoint that published it


class GapOpened(Event, frozen=True, kw_only=True, tag="gap_opened"):
    """Numbers first to last were skipped.

    They were traded between `previous_time_ns` and `next_time_ns`, in whichever order these are:
    the event times of the messages below and above the gap. 0: not known, and so without a bound;
    None: an earlier version wrote the event, and it does not say.
    """

    first: int
    last: int
    size: str  # "small" up to 10 numbers, else "large"
    previous_time_ns: int | None = None
    next_time_ns: int | None = None


class GapFilled(Event, frozen=True, kw_only=True, tag="gap_filled"):
    """Every number of the gap that was opened as first to last has now been received."""

    first: int
    last: int


class GapAbandoned(Event, frozen=True, kw_only=True, tag="gap_abandoned"):
    """Numbers first to last, still missing of gap_first to gap_last, are no longer expected."""

    first: int
    last: int
    gap_first: int
    gap_last: int
    reason: str  # "limit" (too many ranges), "horizon" (too old), "reset", "session-dropped"
    previous_time_ns: int | None = None  # of the messages below and above first to last, as of
    next_time_ns: int | None = None  # a gap that opens


class Late(Event, frozen=True, kw_only=True, tag="late"):
    """A number that was missing arrived behind later ones; its trade is accepted, marked late."""

    sequence: int


class Stale(Event, frozen=True, kw_only=True, tag="stale"):
    """A number in or below an abandoned range, or of a session no longer kept: dead letter."""

    sequence: int


class ConflictingDuplicate(Event, frozen=True, kw_only=True, tag="conflicting_duplicate"):
    """A number seen before, later than all of its session: another message, and a dead letter."""

    sequence: int


class Duplicates(Event, frozen=True, kw_only=True, tag="duplicates"):
    """Messages seen before, of one scope and session in one checkpoint; their trades are dropped.

    What distinguishes them is a number, or an id where the feed has no number. Copies by a
    redundant line are counted by line.
    """

    count: int
    ranges: list[tuple[int, int]]  # inclusive, sorted, merged; a number repeated twice counts twice
    by: str = "sequence"  # or "id": there are no ranges then
    line: str | None = None


class Reset(Event, frozen=True, kw_only=True, tag="reset"):
    """A new session began with this number; `previous` is the session before it."""

    sequence: int
    previous: str


class Dead(Event, frozen=True, kw_only=True, tag="dead"):
    """A number was received for the first time, in a record that became a dead letter: no row."""

    sequence: int


class Redriven(Event, frozen=True, kw_only=True, tag="redriven"):
    """A dead number arrived again in a redriven record, and is accepted, marked late."""

    sequence: int


def type_of(event: Event | type[Event]) -> str:
    """The `type` that its record has."""
    return str(event.__struct_config__.tag)


AnyEvent = (
    GapOpened
    | GapFilled
    | GapAbandoned
    | Late
    | Stale
    | ConflictingDuplicate
    | Duplicates
    | Reset
    | Dead
    | Redriven
)

_EVENTS: tuple[type[Event], ...] = get_args(AnyEvent)
#: What each `type` in a record stands for.
BY_TYPE: dict[str, type[Any]] = {type_of(event): event for event in _EVENTS}
TYPES = tuple(BY_TYPE)

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AnyEvent)


def encode(event: Event) -> bytes:
    """An event as a record's value."""
    return _ENCODER.encode(event)


def decode(value: bytes) -> AnyEvent:
    """A record's value as an event.

    Raises:
        msgspec.DecodeError: not an event of this version.
    """
    event: AnyEvent = _DECODER.decode(value)
    return event


def stamped(event: Event, accepted_time_us: int) -> AnyEvent:
    """The event with the time of the checkpoint that publishes it."""
    replaced = msgspec.structs.replace(event, accepted_time_us=accepted_time_us)
    return cast("AnyEvent", replaced)
