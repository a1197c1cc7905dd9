"""The native extension `k2_native`, where it is installed: the only place that imports it.

It decodes without the interpreter's lock. The Python path defines what bytes mean: whatever the
extension does not take exactly so, it leaves to that path, and so does all that calls it here.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import structlog

log = structlog.get_logger(__name__)

#: What calls K2 makes of the extension, and what they give. Another number is another extension.
INTERFACE = 1

#: Whether the extension is used: where it is installed, or not at all.
Use = Literal["auto", "off"]
#: What is left to the Python path: an answer to a fetch, records of a feed, or either, after a
#: defect of the extension.
Fallback = Literal["fetch", "record", "defect"]


class NativeRecords(NamedTuple):
    """Records that follow one another in an answer to a fetch.

    Attributes:
        columns: `offset`, `timestamp` (ms) and `timestamp_type`; `key`, `value`, `headers` (a map)
            as bytes; `feed` and `line`: the last header of that name, null if there is none or it
            is null.
        next_offset: where the reader goes on.
        is_last: no other records follow in the answer.
    """

    columns: pa.RecordBatch
    next_offset: int
    is_last: bool


class NativeTrades(NamedTuple):
    """Records of one feed, decoded as far as they were taken.

    Attributes:
        messages: a row per record that was taken: `place` among the records, `scope`, `sequence`,
            `session` (-1: none) and `event_time_ns`.
        rows: a row per trade; `message` is a row of `messages`.
        scopes: distinct; `messages` has indices into them.
        sessions: the same.
        left: the places of the records that were not taken, ascending.
    """

    messages: pa.RecordBatch
    rows: pa.RecordBatch
    scopes: pa.StringArray
    sessions: pa.StringArray
    left: pa.Int32Array


def _uncounted(_kind: Fallback, _count: int) -> None:
    """Count nothing."""


class Native:
    """The extension. Threads may share it.

    Args:
        module: `k2_native`.
        on_fallback: told what is left to the Python path, and how much of it. Called in the thread
            that decodes.
    """

    def __init__(
        self, module: ModuleType, on_fallback: Callable[[Fallback, int], None] = _uncounted
    ) -> None:
        self._module = module
        self._on_fallback = on_fallback
        self.version: str = module.__version__
        self.feeds: frozenset[str] = frozenset(module.FEEDS)

    def batches(
        self,
        data: bytes,
        fetch_offset: int,
        aborted: Sequence[tuple[int, int]],
        *,
        committed: bool,
    ) -> "NativeBatches":
        """The record batches of a partition in an answer to a fetch.

        Args:
            data: as the broker sent them.
            fetch_offset: records below it are left out.
            aborted: producer id and first offset of aborted transactions.
            committed: whether records of aborted transactions are left out.
        """
        read = self._module.RecordBatches(data, fetch_offset, list(aborted), committed).read
        return NativeBatches(lambda at_least: self._called("fetch", 1, read, at_least))

    def trades(self, feed: str, records: pa.RecordBatch) -> NativeTrades | None:
        """Decode the records of one of `feeds`; None: the Python path has to.

        Args:
            feed: its name.
            records: columns `key`, `value` (binary) and `append_time_ms`.
        """
        call = self._module.decode_trades
        found = self._called("record", records.num_rows, call, feed, records)
        if found is None:
            return None
        decoded = NativeTrades(*found)
        if len(decoded.left):
            self._on_fallback("record", len(decoded.left))
        return decoded

    def _called(self, kind: Fallback, count: int, call: Callable[..., Any], *given: Any) -> Any:
        """What a call gives; None: Python decides, about so much of a kind."""
        try:
            return call(*given)
        except self._module.NotTakenError as error:
            log.debug("bytes left to python", kind=kind, error=str(error))
            self._on_fallback(kind, count)
        except self._module.DefectError:
            log.exception("native decoder failed", version=self.version, remedy="report a bug")
            self._on_fallback("defect", 1)
        return None


class NativeBatches:
    """The record batches of an answer, read in portions.

    Args:
        read: so many records at least, if there are as many; None: it cannot.
    """

    def __init__(self, read: Callable[[int], tuple[pa.RecordBatch, int, bool] | None]) -> None:
        self._read = read

    def read(self, at_least: int) -> NativeRecords | None:
        """The next records; None: the Python path has to go on, where the last ones ended."""
        found = self._read(at_least)
        return None if found is None else NativeRecords(*found)


def load_native(
    use: Use, on_fallback: Callable[[Fallback, int], None] = _uncounted
) -> Native | None:
    """The extension, if it is wanted, installed and fits. The log says which path is used."""
    if use == "off":
        log.info("python decoder used", reason="K2_NATIVE=off")
        return None
    try:
        import k2_native  # noqa: PLC0415 - it is optional
    except ImportError:
        log.info("python decoder used", reason="k2_native is not installed")
        return None
    if k2_native.INTERFACE != INTERFACE:
        log.warning(
            "python decoder used",
            reason=f"k2_native {k2_native.__version__} has interface {k2_native.INTERFACE}, "
            f"expected {INTERFACE}: install the k2_native of this version of K2",
        )
        return None
    log.info("native decoder used", version=k2_native.__version__)
    return Native(k2_native, on_fallback)
