"""A scope's sequence state as bytes: a version byte, then msgpack arrays in the order of fields."""

import msgspec

from k2_streams.core.sequence import ScopeState

VERSION = 1
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(ScopeState)
_PREFIX = bytes([VERSION])


class SequenceFormatError(ValueError):
    """Bytes that this version can not read: written by a newer one, or damaged."""


def encode(state: ScopeState) -> bytes:
    """A state as a table's value: the same state is always the same bytes."""
    return _PREFIX + _ENCODER.encode(state)


def decode(value: bytes) -> ScopeState:
    """A table's value as a state.

    Raises:
        SequenceFormatError: not a state of this version.
    """
    if value[:1] != _PREFIX:
        found = value[0] if value else "nothing"
        raise SequenceFormatError(f"sequence state: expected version {VERSION}, found {found}")
    try:
        return _DECODER.decode(memoryview(value)[1:])
    except msgspec.DecodeError as error:
        raise SequenceFormatError(f"sequence state: {error}") from error
