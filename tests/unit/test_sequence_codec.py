"""The bytes of a scope's state, as changelogs written long ago hold them."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from k2_streams.core.line_state import Held, LineAt, Lines
from k2_streams.core.sequence import MAX_SEQUENCE, Counters, ScopeState
from k2_streams.core.sequence_codec import SequenceFormatError, decode, encode
from k2_streams.core.sessions import Missing, Session

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "sequence_state_v1.hex"

LINED = GOLDEN.with_name("sequence_state_v2.hex")

STATE = ScopeState(
    sessions=(
        Session("2024-08-08", 1, 100, (), 42, 1_723_075_200_000_000_000, 1_723_161_599_000_000_000),
        Session(
            "2024-08-09",
            7,
            MAX_SEQUENCE + 1,
            (Missing(9, 10, 8, 12), Missing(11, 13, 8, 12)),
            0,
            1_723_161_600_000_000_000,
            1_723_165_200_123_456_789,
        ),
    ),
    dropped=3,
    counters=Counters(
        accepted=1_000_000,
        duplicates=2,
        late=3,
        stale=4,
        resets=5,
        gaps_opened=6,
        gaps_filled=7,
        numbers_abandoned=8,
        first_time_ns=1_723_075_200_000_000_000,
        last_time_ns=1_723_165_200_123_456_789,
    ),
)


def test_the_bytes_are_those_of_the_golden_file():
    """Changed bytes need a new version: running workers hold state written by this one."""
    assert encode(STATE).hex() == GOLDEN.read_text().strip()


def test_the_golden_file_is_still_read():
    assert decode(bytes.fromhex(GOLDEN.read_text())) == STATE


def test_a_state_with_lines_is_version_2_and_comes_back():
    """The bytes of scopes without lines stay as they were."""
    lines = Lines(
        (LineAt("A", "2024-08-09", 13, 1_723_165_200_000), LineAt("B", "2024-08-09", 9, 5)),
        (Held("2024-08-09", 8, 12, 1_723_165_199_000, 77, 1_723_165_198_000_000_000, ("B",)),),
    )
    state = replace(STATE, lines=lines)
    assert encode(state)[:1] == b"\x02"
    assert encode(state).hex() == LINED.read_text().strip()
    assert decode(encode(state)) == state


def test_an_empty_state_comes_back():
    assert decode(encode(ScopeState())) == ScopeState()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "expected version 1 or 2, found nothing"),
        (b"\x03" + encode(STATE)[1:], "expected version 1 or 2, found 3"),
        (encode(STATE)[:-1], "sequence state: "),
        (encode(STATE) + b"\x00", "sequence state: "),
        (b"\x01\xa1x", "sequence state: "),
    ],
)
def test_other_bytes_are_refused(value, says):
    with pytest.raises(SequenceFormatError, match=says):
        decode(value)
