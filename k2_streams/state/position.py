"""The position record: where a task stands. Written in each checkpoint's transaction, last of all.

It, and not the group's offsets, says where the source is read on from. Version 2:

    source        topic id, partitions, next offset
    checkpoint    its number, its time, stream time
    tables        of each table its rows and their checksum, and the version of its state
    outputs       of each topic how many records were published so far
    sections      of each feature what it must know again, in a version of its own

A task does not know what a section holds: the feature that writes it reads it, and upgrades what an
earlier version of the feature wrote. A record of version 1 had one field per fact of each feature.
It is read as what version 2 would have written, so state is upgraded where it lies.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from k2_streams.core.struct_types import prepare
from k2_streams.state.codec import StateFormatError

VERSION = b"\x02"
_VERSION_1 = b"\x01"

#: Version 1 had one sum of all tables that shared its changelog. Sums add up, so it still decides.
ALL_TABLES = "*"
#: Version 1 knew the outputs that it counted by their role. A take-over gives them their topics.
EVENTS_V1, DEAD_LETTERS_V1 = "*events", "*dead-letters"


class RowSum(msgspec.Struct, frozen=True, array_like=True):
    """Rows, and the sum of their hashes modulo 2^64."""

    rows: int = 0
    checksum: int = 0


class Section(msgspec.Struct, frozen=True, array_like=True):
    """One feature's part of a position, as plain objects."""

    version: int
    body: Any


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a task stands."""

    source_id: str  # of the source topic; one created anew has another
    partitions: int  # of the source topic: part of the state
    next_offset: int  # of the source partition
    checkpoint: int = 0  # checkpoints so far
    accepted_time_us: int = 0  # of the last checkpoint: never goes back in a partition
    append_time_ms: int = 0  # stream time: the largest append time processed
    tables: dict[str, RowSum] = {}
    versions: dict[str, int] = {}  # of the tables' state, as their declarations say
    outputs: dict[str, int] = {}  # by topic: records published, of a log rows
    sections: dict[str, Section] = {}


def rows_of(position: Position | None, table: str) -> int:
    """Rows of a table at a position; 0 where neither is known."""
    return 0 if position is None else position.tables.get(table, RowSum()).rows


Body = TypeVar("Body")


class SectionVersionError(StateFormatError):
    """A section of a version that this feature cannot read: a newer K2 wrote it."""


@dataclass(frozen=True, slots=True)
class SectionCodec(Generic[Body]):
    """One feature's section.

    Attributes:
        name: of the section.
        version: that is written.
        body: what it holds.
        upgrades: by version what makes the body of the next version of it.
    """

    name: str
    version: int
    body: type[Body]
    upgrades: Mapping[int, Callable[[Any], Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Have the body looked at."""
        prepare(self.body)

    def write(self, body: Body) -> Section:
        """The section of a body."""
        return Section(self.version, msgspec.to_builtins(body))

    def read(self, sections: Mapping[str, Section]) -> Body | None:
        """The body of the section; None: there is none.

        Raises:
            SectionVersionError: it is of a newer version.
            StateFormatError: it does not hold what it should.
        """
        found = sections.get(self.name)
        if found is None:
            return None
        version, body = found.version, found.body
        while version < self.version and version in self.upgrades:
            version, body = version + 1, self.upgrades[version](body)
        if version != self.version:
            raise SectionVersionError(
                f"section {self.name} of the position: expected version {self.version}, found "
                f"{found.version}: run the version of K2 that wrote it, or a newer one"
            )
        try:
            return msgspec.convert(body, self.body)
        except msgspec.ValidationError as error:
            raise StateFormatError(f"section {self.name} of the position: {error}") from error


def encode_position(position: Position) -> bytes:
    """A position record's value."""
    return VERSION + msgspec.msgpack.encode(position)


def decode_position(value: bytes) -> Position:
    """The inverse of `encode_position`, also of a record of version 1.

    Raises:
        StateFormatError: not a position of a version that is known.
    """
    version, content = value[:1], value[1:]
    try:
        if version == VERSION:
            return _DECODER.decode(content)
        if version == _VERSION_1:
            return upgraded(_DECODER_1.decode(content))
    except msgspec.MsgspecError as error:
        raise StateFormatError(f"position: {error}") from error
    raise StateFormatError(f"position: expected version 1 or 2, found {version.hex() or 'none'}")


class PositionV1(msgspec.Struct, frozen=True, kw_only=True):
    """A position record of version 1, in which each feature had fields of its own."""

    source_id: str
    partitions: int
    next_offset: int
    epoch: int
    events: int
    accepted_time_us: int
    rows: int
    checksum: int
    deferred_id: str = ""
    deferred_next: int = 0
    deferred_records: int = 0
    deferred_from: int | None = None
    append_time_ms: int = 0
    ids: list[Any] = []
    lines: list[Any] = []
    held: int = 0
    oldest_gap_ms: int = 1
    dead_letters: int | None = None


def upgraded(old: PositionV1) -> Position:
    """What version 2 would have written: each feature's fields as version 1 of its section."""
    outputs = {EVENTS_V1: old.events}
    if old.dead_letters is not None:  # else it was not counted yet
        outputs[DEAD_LETTERS_V1] = old.dead_letters
    return Position(
        source_id=old.source_id,
        partitions=old.partitions,
        next_offset=old.next_offset,
        checkpoint=old.epoch,
        accepted_time_us=old.accepted_time_us,
        append_time_ms=old.append_time_ms,
        tables={ALL_TABLES: RowSum(old.rows, old.checksum)},
        outputs=outputs,
        sections={
            "deferral": Section(
                1,
                {
                    "topic_id": old.deferred_id,
                    "next_offset": old.deferred_next,
                    "records": old.deferred_records,
                    "from_offset": old.deferred_from,
                },
            ),
            "lines": Section(1, {"stats": old.lines, "held": old.held}),
            "gaps": Section(1, {"oldest_ms": old.oldest_gap_ms}),
            "dedup": Section(1, {"buckets": old.ids}),
        },
    )


_DECODER = msgspec.msgpack.Decoder(Position)
_DECODER_1 = msgspec.msgpack.Decoder(PositionV1)
