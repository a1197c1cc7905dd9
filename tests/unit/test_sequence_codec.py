"""The bytes of a scope's state, as changelogs written long ago hold them."""

from pathlib import Path

import pytest

from k2_streams.core.sequence import MAX_SEQUENCE, Counters, ScopeState
from k2_streams.core.sequence_codec import SequenceFormatError, decode, encode
from k2_streams.core.sessions import Missing, Session

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "sequence_state_v1.hex"

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


def test_an_empty_state_comes_back():
    assert decode(encode(ScopeState())) == ScopeState()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "expected version 1, found nothing"),
        (b"\x02" + encode(STATE)[1:], "expected version 1, found 2"),
        (encode(STATE)[:-1], "sequence state: "),
        (encode(STATE) + b"\x00", "sequence state: "),
        (b"\x01\xa1x", "sequence state: "),
    ],
)
def test_other_bytes_are_refused(value, says):
    with pytest.raises(SequenceFormatError, match=says):
        decode(value)
