"""The streams of a ledger. Their topics are older than their tables, and kept for ever."""

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from k2_streams.core.ledger.dead_letters import DEAD_LETTERS, dead_letters_of
from k2_streams.core.ledger.gap_events import GAP_EVENTS, gap_events_of
from k2_streams.core.ledger.levels import LEVELS, levels_of
from k2_streams.core.ledger.repairs import REPAIRS, repairs_of
from k2_streams.core.records.stream import Stream


class Ledger(NamedTuple):
    """What is found out about the records of one raw topic, beside their rows."""

    gap_events: Stream
    dead_letters: Stream
    levels: Stream
    repairs: Stream

    @classmethod
    def of(
        cls,
        about: str,
        prefix: str,
        *,
        events: str,
        dead_letters: str,
        levels: str,
        repairs: str,
    ) -> "Ledger":
        """The ledger of a raw topic.

        Args:
            about: the stream of its accepted rows.
            prefix: begins the names of the tables.
            events: the topic of sequence events.
            dead_letters: of records that could not be processed.
            levels: of changes of the degradation level.
            repairs: of what repairs asked for.
        """
        stream = partial(Stream.of_ledger, about=about)
        return cls(
            stream(
                f"{prefix}gap_events",
                GAP_EVENTS,
                topic=events,
                decode=gap_events_of,
                key=("exchange", "symbol"),
                time="exchange_time_ns",
            ),
            stream(
                f"{prefix}dead_letters",
                DEAD_LETTERS,
                topic=dead_letters,
                decode=dead_letters_of,
                key=("feed", "reason"),
                time="append_time_ns",
            ),
            stream(
                f"{prefix}levels",
                LEVELS,
                topic=levels,
                decode=levels_of,
                key=("worker",),
                time="time_ns",
            ),
            stream(
                f"{prefix}repairs",
                REPAIRS,
                topic=repairs,
                decode=repairs_of,
                key=("exchange", "symbol"),
                time="started_ns",
            ),
        )


def has_gap_events(stream: Stream) -> bool:
    """Whether the rows of a stream are sequence events."""
    return stream.is_ledger and bool(stream.log_schema == GAP_EVENTS)


def has_repairs(stream: Stream) -> bool:
    """Whether the rows of a stream are what repairs asked for."""
    return stream.is_ledger and bool(stream.log_schema == REPAIRS)


def gap_events_among(streams: Iterable[Stream], about: Stream) -> Stream | None:
    """The gap events of a stream, if they are among others."""
    return next((one for one in streams if one.about == about.name and has_gap_events(one)), None)
