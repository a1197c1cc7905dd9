"""Reads records whose header keys are no UTF-8, as Kafka's Java client does.

The protocol calls a header's key a string, but no broker checks it, and librdkafka sends what bytes
it is given. aiokafka (0.14) raises for the whole batch, so that one record would stop a partition
for good. Such a batch is read again here; bytes that are no UTF-8 become U+FFFD. All other batches
are decoded by aiokafka alone.

A reader that wants columns gets those of the native extension, if it takes all batches of an
answer; else the records one by one, whose errors and oddities are then those of every reader.
"""

import enum
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords as _PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy, _DefaultRecordPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from aiokafka.record.util import decode_varint_py

from k2_streams.kafka.record_columns import RecordColumns
from k2_streams.native import Native, NativeBatches

_COMMITTED = 1  # the isolation level


def install() -> None:
    """Let every consumer of this process read any header key. Idempotent."""
    fetcher.MemoryRecords = Batches
    fetcher.PartitionRecords = AnyKeyRecords


class Batches(_MemoryRecordsPy):  # type: ignore[misc] # aiokafka has no types
    """The batches of one partition in an answer to a fetch; the last one given can be had again.

    Each batch is of the version that it names itself: aiokafka's compiled class takes that of the
    first one for all.
    """

    _last: memoryview | None = None
    _again = False

    @property
    def untouched(self) -> bytes | None:
        """All bytes; None once a batch was given."""
        return self._buffer if self._last is None else None

    def has_next(self) -> bool:
        """Whether there is another whole batch."""
        return self._again or self._next_slice is not None

    def next_batch(self) -> Any:
        """The next batch; None: there is none.

        Raises:
            CorruptRecordException: it is shorter than any batch can be.
        """
        if self._again:
            self._again = False
            return _AnyKeyBatch(self._last or b"")
        if self._next_slice is not None:
            self._last = self._next_slice
        return super().next_batch()

    def read_again(self) -> None:
        """Give the batch that was given last once more, to be decoded here."""
        self._again = True


class Given(enum.Enum):
    """What a partition's result gives next."""

    RECORDS = "one by one"
    COLUMNS = "columns, and others after them"
    LAST_COLUMNS = "columns, the last"


class AnyKeyRecords(_PartitionRecords):  # type: ignore[misc] # aiokafka has no types
    """The records of one partition in an answer to a fetch, each of them once."""

    _native: NativeBatches | None = None
    _is_native_over = False  # read to the end
    _is_left_to_python = False  # from here on
    _portion: RecordColumns | None = None
    _portion_end = 0  # where the reader goes on behind it
    _at_most = 1

    def as_columns(self, native: Native, at_most: int) -> Given:
        """Give columns of so many records next, not records."""
        if self._is_left_to_python:
            return Given.RECORDS
        if self._native is None:
            data = self._records.untouched
            if not data:
                return Given.RECORDS
            committed = self._isolation_level == _COMMITTED
            self._native = native.batches(
                data, self.next_fetch_offset, self._aborted_transactions, committed=committed
            )
        if not self._portion and not self._is_native_over:
            found = self._native.read(at_most)
            if found is None:
                self._is_left_to_python = True
                return Given.RECORDS
            self._portion, self._portion_end = RecordColumns(found.columns), found.next_offset
            self._is_native_over = found.is_last
        self._at_most = at_most
        more = not self._is_native_over or len(self._portion or ()) > at_most
        return Given.COLUMNS if more else Given.LAST_COLUMNS

    def _unpack_records(self) -> Iterator[Any]:
        yield from self._unpack_columns()
        if self._is_native_over:
            return
        # From the beginning. What was given as columns is left out here: each batch that aiokafka
        # passes sets `next_fetch_offset` to its own end, also one that lies below.
        given_below = self.next_fetch_offset
        while True:
            try:
                found = super()._unpack_records()
                if self._native is None:
                    yield from found
                else:
                    for record in found:
                        if record.offset >= given_below:
                            yield record
            except (UnicodeDecodeError, CorruptRecordException) as error:
                # aiokafka's decoder in Python wraps the one, its compiled decoder does not.
                if not isinstance(error.__cause__ or error, UnicodeDecodeError):
                    raise
                # What was given of it is skipped: `next_fetch_offset` has passed it.
                self._records.read_again()
            else:
                return

    def _unpack_columns(self) -> Iterator[RecordColumns]:
        while self._portion:
            given, rest = self._portion[: self._at_most], self._portion[self._at_most :]
            self._portion = rest
            self.next_fetch_offset = int(given.offsets[-1]) + 1 if rest else self._portion_end
            yield given
        if self._is_native_over:
            self.next_fetch_offset = self._portion_end


class _AnyKeyBatch(_DefaultRecordBatchPy):  # type: ignore[misc] # aiokafka has no types
    """Decodes a batch of magic 2; never reads beyond its end, whatever its lengths say."""

    _pos: int

    def _read_msg(self) -> Any:
        """Decode the next record.

        Raises:
            CorruptRecordException: the bytes are no record.
            IndexError: they end before it does; the base class says that they are corrupt.
        """
        buffer = self._buffer
        length, begin = decode_varint_py(buffer, self._pos)
        # Its first byte are its attributes, of which none is in use.
        timestamp_delta, at = decode_varint_py(buffer, begin + 1)
        offset_delta, at = decode_varint_py(buffer, at)
        key, at = _nullable(buffer, at)
        value, at = _nullable(buffer, at)
        count, at = decode_varint_py(buffer, at)
        if count < 0:
            raise CorruptRecordException(f"{count} headers")
        headers = []
        for _ in range(count):
            name, at = _nullable(buffer, at)
            if name is None:
                raise CorruptRecordException("the key of a header is null")
            content, at = _nullable(buffer, at)
            headers.append((name.decode(errors="replace"), content))
        if at - begin != length:
            raise CorruptRecordException(f"a record of {at - begin} bytes says it has {length}")
        self._pos = at
        is_append_time = self.timestamp_type == self.LOG_APPEND_TIME
        return _DefaultRecordPy(
            self.base_offset + offset_delta,
            self.max_timestamp if is_append_time else self.first_timestamp + timestamp_delta,
            self.timestamp_type,
            key,
            value,
            headers,
        )


def _nullable(buffer: bytearray, at: int) -> tuple[bytes | None, int]:
    """Bytes behind their length, of which a negative one means null; and where they end."""
    size, at = decode_varint_py(buffer, at)
    if size < 0:
        return None, at
    if at + size > len(buffer):
        raise CorruptRecordException(f"{size} bytes at {at} of {len(buffer)}")
    return bytes(buffer[at : at + size]), at + size
