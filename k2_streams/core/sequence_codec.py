"""A scope's sequence state as bytes: a version byte, then msgpack arrays in the order of fields.

Version 3 is of a scope without lines, version 4 has the lines last. Versions 1 and 2 are the same,
their missing ranges without an age: they are read, and not written any more.
"""

import msgspec

from k2_streams.core.sequence import ScopeState

PLAIN, LINED = 3, 4
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(ScopeState)
_PLAIN, _LINED = bytes([PLAIN]), bytes([LINED])
_READ = (b"\x01", b"\x02", _PLAIN, _LINED)


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
        raise SequenceFormatError(f"sequence state: expected version 1 to 4, found {found}")
    try:
        return _DECODER.decode(memoryview(value)[1:])
    except msgspec.DecodeError as error:
        raise SequenceFormatError(f"sequence state: {error}") from error
