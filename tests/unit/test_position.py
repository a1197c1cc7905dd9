"""The position record: versioned as a whole, and each feature's section by itself."""

import msgspec
import pytest

from k2_streams.state.codec import StateFormatError
from k2_streams.state.position import (
    Position,
    RowSum,
    Section,
    SectionCodec,
    SectionVersionError,
    decode_position,
    encode_position,
)


class Held(msgspec.Struct, frozen=True):
    """A feature's section, as it is written today."""

    held_ms: int = 0


#: Version 1 had seconds, version 2 a list.
CODEC = SectionCodec(
    "feature",
    3,
    Held,
    {1: lambda body: [body["held_s"] * 1000], 2: lambda body: {"held_ms": body[0]}},
)


@pytest.mark.parametrize(
    "section", [Section(1, {"held_s": 7}), Section(2, [7_000]), CODEC.write(Held(7_000))]
)
def test_a_section_of_an_earlier_version_is_upgraded_step_by_step(section: Section) -> None:
    """And comes through the record's bytes."""
    position = Position(source_id="id", partitions=1, next_offset=1, sections={"feature": section})
    assert CODEC.read(decode_position(encode_position(position)).sections) == Held(7_000)


def test_a_section_that_is_missing_is_none() -> None:
    """The feature is new to this partition."""
    assert CODEC.read({}) is None


def test_a_newer_section_is_refused_with_what_to_do() -> None:
    """Guessed at, state would be lost."""
    with pytest.raises(SectionVersionError, match="expected version 3, found 4: run the version"):
        CODEC.read({"feature": Section(4, {"held_ms": 1})})


def test_a_section_that_is_damaged_is_refused() -> None:
    """With its name."""
    with pytest.raises(StateFormatError, match="section feature"):
        CODEC.read({"feature": Section(3, {"held_ms": "soon"})})


def test_tables_and_outputs_come_back_as_they_were() -> None:
    """Whatever their number."""
    position = Position(
        source_id="id",
        partitions=4,
        next_offset=17,
        tables={"bars": RowSum(3, 2**64 - 1), "timers": RowSum()},
        versions={"bars": 2},
        outputs={"k2.bars": 9},
    )
    assert decode_position(encode_position(position)) == position
