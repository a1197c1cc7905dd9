"""A scope's sequence state as bytes: a version byte, then msgpack arrays in the order of fields.

Version 5 is of a scope without lines, version 6 has the lines last. Versions 3 and 4 are the same
without the event times of the messages beside missing ranges, 1 and 2 also without the ranges' age:
they are read, and not written any more.
"""

import msgspec

from k2_streams.core.sequence.step import ScopeState

PLAIN, LINED = 5, 6
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
        return _DECODER.decode(memoryview(value)[1:])
    except msgspec.DecodeError as error:
        raise SequenceFormatError(f"sequence state: {error}") from error
