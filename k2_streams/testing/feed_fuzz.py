"""Fuzzing of a feed: sample records, spoiled in many ways, must leave what a feed promises."""

import random
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from k2_streams.core.records.source import INPUTS, RawInput
from k2_streams.core.records.symbols import is_symbol
from k2_streams.feeds.decoding.decoded import (
    MAX_AHEAD_NS,
    MAX_INT64,
    MIN_EVENT_TIME_NS,
    Decoded,
    Kind,
    RawBatch,
    Reason,
)
from k2_streams.feeds.decoding.keys import parse
from k2_streams.feeds.description import Identity
from k2_streams.feeds.feed import Feed

Sample = tuple[bytes | None, bytes | None]

#: What replaces a part of a value: each has been taken for something else by some decoder.
HOSTILE = (
    b"NaN", b"null", b"true", b"-1", b"0", b"1e400", b"1.5", b"[]", b"{}", b'""', b'"NaN"',
    b'"-0"', b'"1e-19"', b'"' + b"9" * 40 + b'"', b"9" * 30, b"9223372036854775808",
    b'"\\u0000"', b'"\\ud800"', b'"0x10"', b'" 1"', b'"1_000"', b'"\xef\xbc\x91"', b"[[[[",
    b'"2026-02-30T00:00:00Z"', b"\x00", b"\xff", b",", b":", b"}", b'"', b"\\", b"\r", b"\n",
    b"[" * 600, b"{" * 600, b"",
)  # fmt: skip
#: Records of a batch: enough that a bad one has neighbours on both sides.
BATCH_RECORDS = 6
#: Of a batch so many changes of one value, at most.
MAX_CHANGES = 3
_REASONS = frozenset(Reason)


class FeedFaultError(AssertionError):
    """The feed breaks a promise; the text has the promise and the records."""


class _Outcome(NamedTuple):
    """All that was decoded of one record, without its place in the batch."""

    kind: int
    scope: str | None
    sequence: int
    session: str | None
    event_time_ns: int
    rows: tuple[tuple[tuple[str, object], ...], ...]
    bad: tuple[tuple[str, str | None, str], ...]
    event: str


def fuzz_feed(
    feed: Feed,
    samples: Iterable[Sample],
    *,
    stream: str | RawInput = "trades",
    rounds: int = 500,
    seed: int = 0,
    append_time_ms: int = 1_800_000_000_000,
) -> None:
    """Check that a feed keeps what `Feed` promises, whatever a record holds.

    Every sample must be read: as a trade, or as a control message. Then batches of samples, changed
    at random, are decoded, and of each record must hold: nothing raises; the outcome is the same
    alone and among any neighbours; a dead letter has a reason of `Reason`; a row has all that the
    stream's schema asks for, a price and a quantity above zero, the exchange of its key, a symbol
    that may be one, and a time that can be.

    Args:
        feed: what a package declares.
        samples: keys and values of records, at least one, each shape that the venue sends.
        stream: `trades`, `quotes`, or a raw input of your own.
        rounds: batches.
        seed: of all that is random: a run can be repeated.
        append_time_ms: the broker's time of the records: not before the samples' event times.

    Raises:
        FeedFaultError: with the promise that is broken, and the records.
        ValueError: there is no such stream, or no sample.
    """
    source = stream if isinstance(stream, RawInput) else INPUTS.get(stream)
    if source is None:
        raise ValueError(f"stream: expected {' or '.join(INPUTS)}, found {stream!r}")
    fuzz = _Fuzz(feed, source, append_time_ms)
    seeds = list(samples)
    if not seeds:
        raise ValueError("samples: expected at least one, found none")
    for sample in seeds:
        fuzz.check_sample(sample)
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    for _ in range(rounds):
        size = chance.randint(1, BATCH_RECORDS)
        fuzz.check_batch([_spoiled(chance, seeds) for _ in range(size)])


class _Fuzz:
    def __init__(self, feed: Feed, source: RawInput, append_time_ms: int) -> None:
        self._feed = feed
        self._source = source
        self._append_time_ms = append_time_ms

    def check_sample(self, sample: Sample) -> None:
        """A sample is read."""
        (found,) = self._outcomes([sample])
        self._hold(found.kind != Kind.BAD, f"a sample is read: {found.bad}", [sample])
        self._check(sample, found)

    def check_batch(self, records: Sequence[Sample]) -> None:
        """Each record alone, and among the others."""
        together = self._outcomes(records)
        for record, found in zip(records, together, strict=True):
            self._check(record, found)
            (alone,) = self._outcomes([record])
            promise = "a record's outcome does not depend on its neighbours"
            self._hold(found == alone, f"{promise}: {found} among them, {alone} alone", records)

    def _outcomes(self, records: Sequence[Sample]) -> list[_Outcome]:
        count = len(records)
        batch = RawBatch(
            0,
            np.arange(count, dtype=np.int64),
            np.full(count, self._append_time_ms, dtype=np.int64),
            [key for key, _ in records],
            [value for _, value in records],
        )
        try:
            decoded = self._feed.decode(batch)
        except Exception as error:
            text = f"decode never raises for what a record holds: {error!r}\n{_text(records)}"
            raise FeedFaultError(text) from error
        schema = self._source.row_schema
        same = decoded.rows.schema.equals(schema)
        self._hold(same, f"rows have the schema of {self._source.stream.name}", records)
        nulls = [
            field.name
            for field, column in zip(schema, decoded.rows.columns, strict=True)
            if not field.nullable and column.null_count
        ]
        self._hold(not nulls, f"{', '.join(nulls)}: never null", records)
        self._hold(len(decoded.kind) == count, "as many kinds as records", records)
        return [_outcome(decoded, at) for at in range(count)]

    def _check(self, record: Sample, found: _Outcome) -> None:
        def hold(held: object, promise: str) -> None:
            self._hold(held, f"{promise}: {found}", [record])

        key = record[0]
        hold((found.kind == Kind.BAD) == (len(found.bad) == 1), "a dead letter has one reason")
        hold((found.kind == Kind.TRADE) == bool(found.rows), "a message with rows, and no other")
        hold(-1 <= found.sequence <= MAX_INT64, "a sequence number of 63 bits, or -1")
        hold(0 <= found.event_time_ns <= MAX_INT64, "a time of 63 bits, or 0")
        if found.kind == Kind.BAD:
            hold(found.bad[0][0] in _REASONS, "a reason of `Reason`")
            hold((found.scope is None) == (found.sequence < 0), "scope and number both or neither")
            return
        scope = None if key is None else parse(key)
        hold(scope is not None and found.scope == scope.text, "the scope is the record's key")
        if scope is not None:
            for place, row in enumerate(map(dict, found.rows)):
                self._check_row(row, place, scope.exchange, hold)
        by_number = self._feed.description.identity is Identity.SEQUENCE
        ids = [dict(row).get("trade_id") for row in found.rows]
        if by_number and found.rows:
            hold(len(ids) == len(set(ids)), "several trades of one number have ids of their own")

    def _check_row(
        self,
        row: dict[str, object],
        place: int,
        exchange: str,
        hold: Callable[[object, str], None],
    ) -> None:
        latest = self._append_time_ms * 1_000_000 + MAX_AHEAD_NS
        time_ns = row["exchange_time_ns"]
        hold(row["source_index"] == place, "rows in the message's order, counted from 0")
        hold(row["exchange"] == exchange, "the exchange is the key's")
        hold(is_symbol(str(row["symbol"])), "a symbol")
        is_time = isinstance(time_ns, int) and MIN_EVENT_TIME_NS <= time_ns <= latest
        hold(is_time, "an event time from 1990 to a day after the append time")
        for name, number in row.items():
            if isinstance(number, Decimal):
                hold(number > 0, f"{name} above zero")
        side = row.get("side")
        hold(side in {None, "buy", "sell", "unknown"}, "a side that K2 knows")

    def _hold(self, held: object, promise: str, records: Sequence[Sample]) -> None:
        if not held:
            raise FeedFaultError(f"{self._feed.name}: expected: {promise}\n{_text(records)}")


def _outcome(decoded: Decoded, at: int) -> _Outcome:
    scope, session = int(decoded.scope[at]), int(decoded.session[at])
    mine = decoded.rows.filter(np.asarray(decoded.rows.column("message")) == at)
    return _Outcome(
        int(decoded.kind[at]),
        decoded.scopes[scope] if scope >= 0 else None,
        int(decoded.sequence[at]),
        decoded.sessions[session] if session >= 0 else None,
        int(decoded.event_time_ns[at]),
        tuple(
            tuple((name, value) for name, value in row.items() if name != "message")
            for row in mine.to_pylist()
        ),
        tuple((bad.reason, bad.field, bad.detail) for bad in decoded.bad if bad.message == at),
        decoded.events.get(at, ""),
    )


def _text(records: Sequence[Sample]) -> str:
    return "\n".join(f"  key {key!r}, value {value!r}" for key, value in records)


def _spoiled(chance: random.Random, samples: Sequence[Sample]) -> Sample:
    """A sample, with none or some of it changed."""
    key, value = chance.choice(samples)
    for _ in range(chance.randint(0, MAX_CHANGES)):
        other = chance.choice(samples)[1] or b""
        value = chance.choice(_WAYS)(chance, value or b"", other)
    if chance.random() < 0.1:
        foreign = chance.choice(samples)[0]
        key = chance.choice([None, b"", foreign, (key or b"") + b"X", b"X" + (key or b"")])
    return key, None if chance.random() < 0.01 else value


def _part(chance: random.Random, value: bytes) -> tuple[int, int]:
    """A part of a value, of whole words as often as not."""
    start = chance.randint(0, len(value))
    end = min(start + chance.randint(0, 40), len(value))
    if chance.random() < 0.5:
        while start > 0 and value[start - 1 : start].isalnum():
            start -= 1
        end = start
        while end < len(value) and value[end : end + 1].isalnum():
            end += 1
    return start, end


def _replaced(chance: random.Random, value: bytes, _: bytes) -> bytes:
    start, end = _part(chance, value)
    return value[:start] + chance.choice(HOSTILE) + value[end:]


def _cut(chance: random.Random, value: bytes, _: bytes) -> bytes:
    start, end = _part(chance, value)
    return value[:start] + value[end:]


def _doubled(chance: random.Random, value: bytes, _: bytes) -> bytes:
    start, end = _part(chance, value)
    return value[:end] + value[start:]


def _flipped(chance: random.Random, value: bytes, _: bytes) -> bytes:
    at = chance.randint(0, len(value))
    return value[:at] + chance.randbytes(chance.randint(1, 8)) + value[at + 1 :]


def _spliced(chance: random.Random, value: bytes, other: bytes) -> bytes:
    return value[: chance.randint(0, len(value))] + other[chance.randint(0, len(other)) :]


def _swapped(chance: random.Random, value: bytes, _: bytes) -> bytes:
    """Two words exchanged."""
    (a, b), (c, d) = sorted([_part(chance, value), _part(chance, value)])
    return value if c < b else value[:a] + value[c:d] + value[b:c] + value[a:b] + value[d:]


_WAYS = (_replaced, _cut, _doubled, _flipped, _spliced, _swapped)
