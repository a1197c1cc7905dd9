"""A scope's sequence state as bytes: a version byte, then msgpack arrays in the order of fields.

Version 7 is of a scope without lines, version 8 has the lines last. Versions 5 and 6 are the same
without dead numbers, 3 and 4 also without the event times of the messages beside missing ranges, 1
and 2 also without the ranges' age: they are read, and not written any more.
"""

import msgspec

from k2_streams.core.sequence.step import ScopeState

PLAIN, LINED = 7, 8
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(ScopeState)
_PLAIN, _LINED = bytes([PLAIN]), bytes([LINED])
_READ = frozenset(bytes([version]) for version in range(1, LINED + 1))


class SequenceFormatError(ValueError):
    """Bytes that this version can not read: written by a newer one, or damaged."""


def encode(state: ScopeState) -> bytes:
    """A state as a table's value: the same state is always the same bytes."""
    if state.lines is not None:
        return _LINED + _ENCODER.encode(state)
    return _PLAIN + _ENCODER.encode((state.sessions, state.dropped, state.counters))


def decode(value: bytes) -> ScopeState:
    """A table's value as a state.

    Raises:
        SequenceFormatError: not a state of this version.
    """
    if value[:1] not in _READ:
        found = value[0] if value else "nothing"
        raise SequenceFormatError(f"sequence state: expected version 1 to {LINED}, found {found}")
    try:
        state = _DECODER.decode(memoryview(value)[1:])
    except msgspec.DecodeError as error:
        raise SequenceFormatError(f"sequence state: {error}") from error
    return state if value[0] >= PLAIN else _without_knowing_dead(state)


def _without_knowing_dead(state: ScopeState) -> ScopeState:
    """A state of a version that did not remember which of the received numbers were dead."""
    sessions = tuple(
        msgspec.structs.replace(one, dead_floor=one.expected) for one in state.sessions
    )
    return msgspec.structs.replace(state, sessions=sessions)
