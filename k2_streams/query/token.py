"""Where an answer stands, as text that a client keeps: tokens and cursors.

Both are opaque: base64 (URL alphabet, no padding) of a version byte, a letter for the kind, msgpack
of the fields, and a CRC-32. Since version 2 a token's offsets are packed (`query.packing`), so that
one of 1,000 partitions fits a request line; version 1 is still read. Where a subscription ends is
packed too, as differences to those offsets; tokens in which it is not are still read. A token
names, per partition of `k2.trades`, the next offset that the answer does not hold; asked again
with it (`as_of=`), the answer has the same rows, from any later snapshot. A cursor is a token, the
place of the last row given, and the question itself.
"""

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from k2_streams.core.query.bars.fold import Fill
from k2_streams.core.query.bars.interval import Interval
from k2_streams.core.query.keys import Keys
from k2_streams.core.struct_types import prepare
from k2_streams.query.packing import pack, unpack

_VERSION = 2
_UNPACKED_VERSION = 1
#: Of a token from before records could be deferred: none waited.
_FIELDS_BEFORE_DEFERRAL = 3
#: What a request line takes. A token of 1,000 partitions has at most 12,100 characters, 9,400 with
#: offsets below 2^48; that of a subscription with an end 13,600 if the partitions differ by less
#: than 2^35, both in where they end and in how far that is. Longer is not ours.
MAX_TEXT = 16_384
MAX_INT64 = 2**63 - 1
_ANY = msgspec.msgpack.Decoder()


class TokenError(ValueError):
    """The text is not a token (or cursor) that this version wrote."""


#: `deferred` of a token of which it is not known how many records were deferred there.
NOT_KNOWN = -1


class Token(msgspec.Struct, frozen=True, array_like=True):
    """What an answer holds of the log: offsets below `next`, of the topic with this id.

    `at_ns` is the server's time when the answer was made: a window without an end, asked again
    with the token, ends there. `deferred` raw records waited then: their trades are not in it.
    """

    topic_id: str
    next: dict[int, int]
    at_ns: int
    deferred: int

    def encode(self) -> str:
        """The token as text."""
        return _encode(self, b"T")

    @classmethod
    def decode(cls, text: str) -> "Token":
        """The inverse of `encode`.

        Raises:
            TokenError: the text is not a token.
        """
        return _decode(text, cls, b"T")


class TagName(msgspec.Struct, frozen=True):
    """A tag of the table, in place of a token: stands for what the tagged snapshot holds."""

    name: str


class Key(msgspec.Struct, frozen=True, array_like=True, order=True):
    """The place of a row in the order of every answer; no two rows share one."""

    time_ns: int
    log_partition: int
    log_offset: int
    log_row: int


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The next page: the question, resolved, the token of its first page and the last row given."""

    token: Token
    after: Key
    symbols: tuple[str, ...]
    exchanges: tuple[str, ...]
    start_ns: int | None
    end_ns: int | None
    descending: bool
    limit: int
    asked: int  # a checksum of the parameters of the first page
    view: Literal["reported", "corrected"] = "reported"
    keys: Keys = ()  # of other columns than symbol and exchange
    known_at_ns: int | None = None  # gaps are shown as known then; None: as known now

    def encode(self) -> str:
        """The cursor as text."""
        return _encode(self, b"C")

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """The inverse of `encode`.

        Raises:
            TokenError: the text is not a cursor.
        """
        return _decode(text, cls, b"C")


class BarsCursor(msgspec.Struct, frozen=True, array_like=True):
    """The next page of bars: as `Cursor`, with what the bars are."""

    token: Token
    after: tuple[int, str, str]  # start, exchange and symbol of the last bar given
    symbols: tuple[str, ...]
    exchanges: tuple[str, ...]
    interval: Interval
    align: Literal["utc", "tz", "session"]
    zone: str | None
    calendar: str | None
    fill: Fill
    conditions: Literal["eligible", "all"] | None
    view: Literal["reported", "corrected"]
    start_ns: int
    end_ns: int
    limit: int
    asked: int
    known_at_ns: int | None = None

    def encode(self) -> str:
        """The cursor as text."""
        return _encode(self, b"B")

    @classmethod
    def decode(cls, text: str) -> "BarsCursor":
        """The inverse of `encode`.

        Raises:
            TokenError: the text is not a cursor of bars.
        """
        return _decode(text, cls, b"B")


class StreamToken(msgspec.Struct, frozen=True, array_like=True):
    """Where a subscription stands, to the row: any node goes on from it."""

    token: Token  # every row below it is given; in order of event time: where the rows begin
    end: dict[int, int] | None  # where the subscription ends; None: nowhere
    partial: tuple[int, int] | None  # partition and row: of the record at `token`, those below it
    after: Key | None  # in order of event time: the last row given
    floor: int  # no row that is left has a smaller value in the column of the order
    rows: int  # given so far
    checksum: int  # over them (`core.subscription.tally`)
    asked: int  # a checksum of what is subscribed to
    start_ns: int | None = None  # no row of an earlier event time is wanted; None: no bound

    def encode(self) -> str:
        """The token as text."""
        return _encode(self, b"S")

    @classmethod
    def decode(cls, text: str) -> "StreamToken":
        """The inverse of `encode`.

        Raises:
            TokenError: the text is not the token of a subscription.
        """
        found = _decode(text, cls, b"S")
        counted = found.floor >= 0 and found.rows >= 0 and 0 <= found.checksum < 2**64
        if not (counted and abs(found.start_ns or 0) <= MAX_INT64):
            raise TokenError("not the token of a subscription")
        return found


class GapsCursor(msgspec.Struct, frozen=True, array_like=True):
    """The next page of gaps: as `Cursor`, of the log of gap events."""

    token: Token
    after: tuple[str, int]  # scope and place of the last gap that was looked at
    symbols: tuple[str, ...]
    exchanges: tuple[str, ...]
    states: tuple[str, ...]
    start_ns: int | None
    end_ns: int | None
    limit: int
    known_at_ns: int | None = None

    def encode(self) -> str:
        """The cursor as text."""
        return _encode(self, b"G")

    @classmethod
    def decode(cls, text: str) -> "GapsCursor":
        """The inverse of `encode`.

        Raises:
            TokenError: the text is not a cursor of gaps.
        """
        return _decode(text, cls, b"G")


_Tokens = Token | Cursor | BarsCursor | GapsCursor | StreamToken
_Kind = TypeVar("_Kind", Token, Cursor, BarsCursor, GapsCursor, StreamToken)


def _encode(value: _Tokens, kind: bytes) -> str:
    fields = _fields(value)
    if not isinstance(value, Token):
        fields[0] = _fields(value.token)
    if isinstance(value, StreamToken) and value.end is not None:
        fields[1] = pack(_less(value.end, value.token.next))
    _packed_token(fields)[1] = pack(_packed_token(fields)[1])
    body = bytes((_VERSION,)) + kind + msgspec.msgpack.encode(fields)
    checked = body + zlib.crc32(body).to_bytes(4, "big")
    return base64.urlsafe_b64encode(checked).rstrip(b"=").decode()


def _decode(text: str, kind: type[_Kind], letter: bytes) -> _Kind:
    if not text or len(text) > MAX_TEXT:
        raise TokenError(f"expected 1 to {MAX_TEXT} characters, found {len(text)}")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise TokenError("not base64") from error
    body, check = data[:-4], data[-4:]
    if zlib.crc32(body).to_bytes(4, "big") != check:
        raise TokenError("damaged: its checksum differs")
    if body[1:2] != letter or body[0] not in (_VERSION, _UNPACKED_VERSION):
        raise TokenError(f"expected version 1 or {_VERSION} of kind {letter.decode()}")
    try:
        fields = _ANY.decode(body[2:])
        token = _packed_token(fields)
        if body[0] != _UNPACKED_VERSION:
            token[1] = unpack(token[1])
        elif len(token) == _FIELDS_BEFORE_DEFERRAL:
            token.append(0)
        if kind is StreamToken and isinstance(fields[1], bytes):
            fields[1] = _plus(unpack(fields[1]), token[1])
        value = msgspec.convert(fields, type=kind)
    except (msgspec.DecodeError, ValueError, TypeError, LookupError) as error:
        raise TokenError(str(error)) from error
    _check(value if isinstance(value, Token) else value.token)
    return value


def _fields(value: _Tokens) -> list[Any]:
    return list(msgspec.structs.astuple(value))


def _packed_token(fields: list[Any]) -> list[Any]:
    """The fields of the token in those of a token or a cursor: a cursor's first is its token."""
    token: list[Any] = fields[0] if isinstance(fields[0], list) else fields
    return token


def _less(ends: Mapping[int, int], offsets: Mapping[int, int]) -> dict[int, int]:
    return {partition: end - offsets.get(partition, 0) for partition, end in ends.items()}


def _plus(differences: Mapping[int, int], offsets: Mapping[int, int]) -> dict[int, int]:
    """The inverse of `_less`."""
    return {partition: by + offsets.get(partition, 0) for partition, by in differences.items()}


def _check(token: Token) -> None:
    if not 0 <= token.at_ns <= MAX_INT64:
        raise TokenError("its time is out of range")
    for partition, offset in token.next.items():
        if not (0 <= partition < 2**31 and 0 <= offset <= MAX_INT64):
            raise TokenError(f"not an offset: {partition}:{offset}")


for _kind in (Token, TagName, Key, Cursor, BarsCursor, StreamToken, GapsCursor):
    prepare(_kind)
