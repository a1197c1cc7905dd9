"""The bytes of a scope's state, as changelogs written long ago hold them."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from k2_streams.core.lines.state import Held, LineAt, Lines
from k2_streams.core.sequence.codec import SequenceFormatError, decode, encode
from k2_streams.core.sequence.sessions import Missing, Session
from k2_streams.core.sequence.step import MAX_SEQUENCE, Counters, ScopeState

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

STATE = ScopeState(
    sessions=(
        Session(
            "2024-08-08",
            1,
            100,
            (),
            42,
            1_723_075_200_000_000_000,
            1_723_161_599_000_000_000,
            1_723_075_200_000_000_001,
            1_723_161_599_000_000_002,
            ((3, 4), (50, 99)),
            2,
        ),
        Session(
            "2024-08-09",
            7,
            MAX_SEQUENCE + 1,
            (
                Missing(9, 10, 8, 12, 1_723_165_199_500, 1_723_165_198_000_000_000, 0),
                Missing(11, 13, 8, 12, 1_723_165_199_500, 0, 1_723_165_199_000_000_000),
            ),
            0,
            1_723_161_600_000_000_000,
            1_723_165_200_123_456_789,
            1_723_161_600_000_000_000,
            1_723_165_200_123_456_788,
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
        conflicts=9,
    ),
)


WITH_LINES = replace(
    STATE,
    lines=Lines(
        (LineAt("A", "2024-08-09", 13, 1_723_165_200_000), LineAt("B", "2024-08-09", 9, 5)),
        (Held("2024-08-09", 8, 12, 1_723_165_199_000, 77, 1_723_165_198_000_000_000, ("B",)),),
    ),
)


def golden(version: int) -> bytes:
    return bytes.fromhex((GOLDEN / f"sequence_state_v{version}.hex").read_text())


def without_dead(state: ScopeState) -> ScopeState:
    """The state as versions 5 and 6 know it: which of its received numbers are dead is unknown."""
    sessions = tuple(replace(one, dead=(), dead_floor=one.expected) for one in state.sessions)
    return replace(state, sessions=sessions)


def without_times(state: ScopeState) -> ScopeState:
    """The state as versions 3 and 4 know it: nothing of the messages beside a missing range."""
    counters = replace(state.counters, conflicts=0)
    return _every(
        without_dead(replace(state, counters=counters)),
        {"bottom_time_ns": 0, "top_time_ns": 0},
        dict.fromkeys(_BESIDE, 0),
    )


def without_ages(state: ScopeState) -> ScopeState:
    """The state as versions 1 and 2 know it."""
    return _every(without_times(state), {}, {"since_ms": 0})


_BESIDE = ("previous_time_ns", "next_time_ns")


def _every(state: ScopeState, session: dict[str, int], missing: dict[str, int]) -> ScopeState:
    """The state with these fields of each session and of each missing range."""
    sessions = tuple(
        replace(one, missing=tuple(replace(part, **missing) for part in one.missing), **session)
        for one in state.sessions
    )
    return replace(state, sessions=sessions)


@pytest.mark.parametrize(("version", "state"), [(7, STATE), (8, WITH_LINES)])
def test_the_bytes_are_those_of_the_golden_file(version, state):
    """Changed bytes need a new version: running workers hold state written by this one."""
    assert encode(state)[0] == version
    assert encode(state).hex() == golden(version).hex()


@pytest.mark.parametrize(
    ("version", "state"),
    [
        (1, without_ages(STATE)),
        (2, without_ages(WITH_LINES)),
        (3, without_times(STATE)),
        (4, without_times(WITH_LINES)),
        (5, without_dead(STATE)),
        (6, without_dead(WITH_LINES)),
        (7, STATE),
        (8, WITH_LINES),
    ],
)
def test_every_golden_file_is_still_read(version, state):
    assert decode(golden(version)) == state


def test_an_empty_state_comes_back():
    assert decode(encode(ScopeState())) == ScopeState()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "expected version 1 to 8, found nothing"),
        (b"\x09" + encode(STATE)[1:], "expected version 1 to 8, found 9"),
        (encode(STATE)[:-1], "sequence state: "),
        (encode(STATE) + b"\x00", "sequence state: "),
        (b"\x01\xa1x", "sequence state: "),
    ],
)
def test_other_bytes_are_refused(value, says):
    with pytest.raises(SequenceFormatError, match=says):
        decode(value)
