"""Rows as a platform gave them, against the truth: every id, every value, each once.

Rows come as Arrow batches and stay as numbers: 29 bytes each, so that millions can be held. The
comparison knows nothing of how the rows were made.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.records.stream import Stream
from k2_streams.testing.oracle.check_events import RawPlace, Redriven
from k2_streams.testing.oracle.model import Range, ranges_of
from k2_streams.testing.oracle.report import Check
from k2_streams.testing.oracle.truth_file import SessionLine, Truth, exact_text
from k2_streams.testing.streams import PRODUCTS

_COLUMNS = (
    "message_id", "exchange", "symbol", "session", "sequence",
    "source_partition", "source_offset", "source_index", "late",
)  # fmt: skip


def columns_of(stream: Stream) -> list[str]:
    """What a comparison reads of a row."""
    names = [*_COLUMNS, *(name for pair in PRODUCTS[stream.name] for name in pair)]
    return [*names, "trade_id"] if "trade_id" in stream.table_schema.names else names


#: Prices and quantities have 18 decimals, their products 36.
_DECIMALS = 18
_PRODUCT = 2 * _DECIMALS
_LOW_BITS = 1 << 64

Session = tuple[str, str]  # scope, session
_Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class _Columns:
    """The rows so far, one array per batch."""

    code: list[npt.NDArray[np.int32]] = field(default_factory=list)
    number: list[_Ints] = field(default_factory=list)
    partition: list[npt.NDArray[np.int32]] = field(default_factory=list)
    offset: list[_Ints] = field(default_factory=list)
    index: list[npt.NDArray[np.int32]] = field(default_factory=list)
    late: list[npt.NDArray[np.bool_]] = field(default_factory=list)


class FoundRows:
    """Takes rows from one source and compares them with a truth.

    Args:
        truth: of what was sent.
        redriven: numbers whose rows are late, whenever they were sent.
        repaired: raw records of others whose rows are in gaps of the truth.
    """

    def __init__(
        self,
        truth: Truth,
        redriven: Redriven | None = None,
        repaired: Collection[RawPlace] = (),
    ) -> None:
        self._truth = truth
        self._redriven = redriven or {}
        self._repaired = _by_partition(repaired)
        self._rows_in_gaps = 0
        self._codes: dict[Session, int] = {}
        for line in truth.sessions:
            self._codes[line.scope, line.session] = len(self._codes)
        self._expected = len(self._codes)
        self._places = [{name: at for at, name in enumerate(line.ids)} for line in truth.sessions]
        self._counted: Counter[int] = Counter()  # rows so far, of those that nothing identifies
        self._kept = _Columns()
        self._values: dict[int, int] = {}
        self._wrong_ids: list[str] = []
        self._trade_ids: list[pa.Array] = []
        self.rows = 0  # of the truth's sessions, and strangers in its offsets
        self.others = 0  # of somebody else

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows; `columns_of` must be among the batch's."""
        if not batch.num_rows:
            return
        code = self._code(batch)
        partition = batch.column("source_partition").to_numpy()
        offset = batch.column("source_offset").to_numpy()
        ours = (code < self._expected) | self._within(partition, offset)
        repaired = self._in_gaps(partition, offset)
        self._rows_in_gaps += int(repaired.sum())
        ours &= ~repaired
        self.others += int((~ours).sum())
        if not ours.all():
            batch = batch.filter(pa.array(ours))
            code, partition, offset = code[ours], partition[ours], offset[ours]
        if not batch.num_rows:
            return
        self.rows += batch.num_rows
        kept = self._kept
        kept.code.append(code)
        kept.number.append(self._number(batch, code))
        kept.partition.append(partition)
        kept.offset.append(offset)
        kept.index.append(batch.column("source_index").to_numpy())
        kept.late.append(batch.column("late").to_numpy(zero_copy_only=False))
        self._sum(code, batch)
        self._check_ids(batch)

    def checks(self, source: str) -> list[Check]:
        """What was compared, and how it came out."""
        kept = self._kept
        code = _joined(kept.code, np.int32)
        number = _joined(kept.number, np.int64)
        late = _joined(kept.late, np.bool_)
        order = np.lexsort((number, code))
        code, number, late = code[order], number[order], late[order]
        checks = [
            self._check_numbers(source, code, number),
            self._check_values(source),
            self._check_late(source, code[late], number[late]),
            self._check_positions(source),
            self._check_message_ids(source),
        ]
        # Where a number does not identify a row, a message may have none, or several.
        if self._repaired and self._truth.header.rows_by == "sequence":
            checks.append(self._check_repaired(source))
        return checks

    def positions(self) -> dict[int, _Ints]:
        """By raw partition the offsets of records that became rows."""
        partition = _joined(self._kept.partition, np.int32)
        offset = _joined(self._kept.offset, np.int64)
        return {one: offset[partition == one] for one in np.unique(partition).tolist()}

    def _code(self, batch: pa.RecordBatch) -> npt.NDArray[np.int32]:
        """A number for each row's (scope, session): below `_expected` if the truth knows it."""
        encoded = [_dictionary(batch.column(name)) for name in ("exchange", "symbol", "session")]
        combined = np.zeros(batch.num_rows, np.int64)
        for column in encoded:
            combined = combined * len(column.dictionary) + column.indices.to_numpy()
        distinct, inverse = np.unique(combined, return_inverse=True)
        exchanges, symbols, sessions = (column.dictionary.to_pylist() for column in encoded)
        codes = np.empty(len(distinct), np.int32)
        for at, value in enumerate(distinct.tolist()):
            rest, session = divmod(value, len(sessions))
            exchange, symbol = divmod(rest, len(symbols))
            key = (f"{exchanges[exchange]}:{symbols[symbol]}", sessions[session])
            codes[at] = self._codes.setdefault(key, len(self._codes))
        return codes[inverse]

    def _within(self, partition: npt.NDArray[np.int32], offset: _Ints) -> npt.NDArray[np.bool_]:
        """Rows of records that the run sent, if all in its offsets are its own."""
        within = np.zeros(len(offset), np.bool_)
        if self._truth.alone:
            for one, place in self._truth.positions.items():
                within |= (partition == one) & (offset >= place.first) & (offset < place.next)
        return within

    def _in_gaps(self, partition: npt.NDArray[np.int32], offset: _Ints) -> npt.NDArray[np.bool_]:
        """Rows of records that the run did not send, and that filled gaps of it."""
        found = np.zeros(len(offset), np.bool_)
        for one, offsets in self._repaired.items():
            found |= (partition == one) & np.isin(offset, offsets)
        return found

    def _number(self, batch: pa.RecordBatch, code: npt.NDArray[np.int32]) -> _Ints:
        """What identifies a row in its session: its sequence number, its id, or nothing."""
        if self._truth.header.rows_by == "trade_id":
            ids = batch.column("trade_id").to_pylist()
            places = [
                self._places[at].get(name, -1) if at < self._expected else -1
                for at, name in zip(code.tolist(), ids, strict=True)
            ]
            return np.array(places, np.int64)
        if self._truth.header.rows_by == "place":
            return np.array([self._place(at) for at in code.tolist()], np.int64)
        number = batch.column("sequence")
        if self._truth.header.options.get("ids") and number.null_count:
            number = pc.coalesce(number, batch.column("trade_id").cast(pa.int64()))
        found: _Ints = pc.fill_null(number, -1).to_numpy()
        return found

    def _place(self, code: int) -> int:
        self._counted[code] += 1
        return self._counted[code] - 1

    def _sum(self, code: npt.NDArray[np.int32], batch: pa.RecordBatch) -> None:
        """Add what the rows are worth, exactly, to each session's sum."""
        products: npt.NDArray[np.object_] = np.zeros(batch.num_rows, object)
        for price, quantity in PRODUCTS[self._truth.header.stream]:
            products = products + _units(batch.column(price)) * _units(batch.column(quantity))
        order = np.argsort(code, kind="stable")
        grouped = code[order]
        begins = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]])
        sums = np.add.reduceat(products[order], begins)
        for one, total in zip(grouped[begins].tolist(), sums.tolist(), strict=True):
            self._values[one] = self._values.get(one, 0) + total

    def _check_ids(self, batch: pa.RecordBatch) -> None:
        """`message_id` must follow from the row."""
        texts = [
            _escaped(batch.column(name).cast(pa.string()))
            for name in ("exchange", "symbol", "session")
        ]
        trade_id = pa.nulls(batch.num_rows, pa.string())
        if "trade_id" in batch.schema.names:
            trade_id = batch.column("trade_id").cast(pa.string())
        by_trade = pc.binary_join_element_wise("t:", _escaped(trade_id), "")
        by_number = pc.binary_join_element_wise(
            "s:", batch.column("sequence").cast(pa.string()), ""
        )
        identity = pc.coalesce(by_trade, by_number)
        if self._truth.header.rows_by == "place":
            identity = pc.coalesce(identity, _by_place(batch))
        expected = pc.binary_join_element_wise(*texts, identity, "|")
        found = batch.column("message_id")
        same = pc.equal(found, expected).fill_null(fill_value=False)
        if not pc.all(same).as_py():
            at = pc.invert(same)
            self._wrong_ids += [
                f"expected {one}, found {other}"
                for one, other in zip(
                    expected.filter(at).to_pylist(), found.filter(at).to_pylist(), strict=True
                )
            ]
        if trade_id.null_count < len(trade_id):
            self._trade_ids.append(found.filter(pc.is_valid(trade_id)))

    def _check_numbers(self, source: str, code: npt.NDArray[np.int32], number: _Ints) -> Check:
        check = Check(f"{source}: rows", self._truth.rows, len(number))
        names = list(self._codes)
        bounds = np.searchsorted(code, np.arange(len(names) + 1))
        for at, (scope, session) in enumerate(names):
            found = number[bounds[at] : bounds[at + 1]]
            if at >= self._expected:
                if len(found):
                    check.differ(
                        f"{scope}, session {session}: {len(found)} rows of no such session"
                    )
                continue
            twice = found[1:][found[1:] == found[:-1]]
            for first, last in ranges_of(np.unique(twice).tolist()):
                check.differ(f"{scope}, session {session}: rows twice: {_text(first, last)}")
            expected = _numbers(self._truth.sessions[at].rows)
            for missing in _difference(expected, found):
                check.differ(f"{scope}, session {session}: rows missing: {_text(*missing)}")
            for more in _difference(found, expected):
                check.differ(f"{scope}, session {session}: rows too many: {_text(*more)}")
        return check

    def _check_values(self, source: str) -> Check:
        check = Check(f"{source}: price x quantity, sums", self._expected, 0)
        for at, line in enumerate(self._truth.sessions):
            found = self._values.get(at, 0)
            if _exact(line.value) == found:
                check.found += 1
            else:
                check.differ(
                    f"{line.scope}, session {line.session}: expected {line.value}, "
                    f"found {exact_text(found, _PRODUCT)}"
                )
        return check

    def _check_late(self, source: str, code: npt.NDArray[np.int32], number: _Ints) -> Check:
        check = Check(f"{source}: rows marked late", 0, len(number))
        bounds = np.searchsorted(code, np.arange(self._expected + 1))
        for at, line in enumerate(self._truth.sessions):
            found = number[bounds[at] : bounds[at + 1]]
            redriven = self._redriven.get((line.scope, line.session), set())
            expected = np.union1d(_numbers(line.late), np.array(sorted(redriven), np.int64))
            check.expected += len(expected)
            for first, last in _difference(expected, found):
                check.differ(f"{_name(line)}: not marked late: {_text(first, last)}")
            for first, last in _difference(found, expected):
                check.differ(f"{_name(line)}: marked late: {_text(first, last)}")
        return check

    def _check_repaired(self, source: str) -> Check:
        expected = sum(len(offsets) for offsets in self._repaired.values())
        check = Check(f"{source}: rows in gaps that others filled", expected, self._rows_in_gaps)
        if check.found != expected:
            check.differ(f"{expected} records of others were accepted in gaps of the run")
        return check

    def _check_positions(self, source: str) -> Check:
        partition = _joined(self._kept.partition, np.int32)
        offset = _joined(self._kept.offset, np.int64)
        index = _joined(self._kept.index, np.int32)
        order = np.lexsort((index, offset, partition))
        partition, offset, index = partition[order], offset[order], index[order]
        same = (
            (partition[1:] == partition[:-1])
            & (offset[1:] == offset[:-1])
            & (index[1:] == index[:-1])
        )
        check = Check(f"{source}: raw positions, each once", len(offset), len(offset))
        check.found -= int(same.sum())
        for at in np.flatnonzero(same).tolist():
            check.differ(f"raw {partition[at]}:{offset[at]}, index {index[at]}: more than one row")
        return check

    def _check_message_ids(self, source: str) -> Check:
        check = Check(f"{source}: message ids", self.rows, self.rows - len(self._wrong_ids))
        for text in self._wrong_ids:
            check.differ(text)
        if self._trade_ids:
            ids = pa.chunked_array(self._trade_ids)
            repeated = len(ids) - pc.count_distinct(ids).as_py()
            if repeated:
                check.differ(f"{repeated} message ids stand on more than one row")
        return check


def _by_partition(places: Collection[RawPlace]) -> dict[int, _Ints]:
    found: dict[int, list[int]] = {}
    for partition, offset in places:
        found.setdefault(partition, []).append(offset)
    return {partition: np.array(offsets, np.int64) for partition, offsets in found.items()}


def _escaped(column: pa.Array) -> pa.Array:
    """What separates the parts of an id, and what escapes it, as they stand in a part."""
    return pc.replace_substring(pc.replace_substring(column, "%", "%25"), "|", "%7C")


def _by_place(batch: pa.RecordBatch) -> pa.Array:
    """The id's last part of a row that has nothing else."""
    names = ("source_partition", "source_offset", "source_index")
    place = [batch.column(name).cast(pa.string()) for name in names]
    return pc.binary_join_element_wise("p", *place, ":")


def _joined(parts: list[npt.NDArray[Any]], kind: Any) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, kind)


def _dictionary(column: pa.Array) -> pa.DictionaryArray:
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def _units(column: pa.Array) -> npt.NDArray[np.object_]:
    """decimal128 of 18 decimals as Python's integers, in units of 10^-18; null is zero."""
    if column.null_count:
        column = column.fill_null(Decimal(0))
    words = np.frombuffer(column.buffers()[1], np.int64)
    words = words.reshape(-1, 2)[column.offset : column.offset + len(column)]
    low = words[:, 0].view(np.uint64) if words.flags.c_contiguous else words[:, 0].astype(np.uint64)
    units: npt.NDArray[np.object_] = words[:, 1].astype(object) * _LOW_BITS + low.astype(object)
    return units


def _exact(text: str) -> int:
    """Decimal text in units of 10^-36."""
    whole, _, rest = text.partition(".")
    return int(whole + rest.ljust(_PRODUCT, "0"))


def _numbers(ranges: list[Range]) -> _Ints:
    parts = [np.arange(first, last + 1, dtype=np.int64) for first, last in ranges]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _difference(left: _Ints, right: _Ints) -> Iterator[Range]:
    """Numbers of `left` that are not in `right`, as ranges."""
    if len(left) == len(right) and np.array_equal(left, right):
        return
    yield from ranges_of(np.setdiff1d(left, right).tolist())


def _name(line: SessionLine) -> str:
    return f"{line.scope}, session {line.session}"


def _text(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"
