"""Asks for one symbol without a pause, of several workers, while whatever happens to them happens.

Every answer says in its proof up to which offsets of `k2.trades` it stands (its watermark). Two
answers must agree on every row below the lower of their watermarks: a row that only one of them has
there is a hole in the other. The truth is not needed for it, so it holds for any input; that the
last answer is complete `k2 verify` says.
"""

import threading
from collections.abc import Iterable
from typing import Any

import msgspec
import pyarrow as pa

from k2_streams.testing.client import StatusError
from k2_streams.testing.local.workers import LocalWorker
from k2_streams.web.http.formats import META_KEY

#: Every so many answers the same is asked again with the token: the same rows, whatever came since.
AGAIN_EVERY = 5
#: A page of it must hold the whole symbol, or the answers cannot be compared.
LIMIT = 100_000
ANSWER_WITHIN_S = 20.0
#: What a node may answer while it starts or is cut off: not known yet, not ready.
NOT_READY = frozenset({404, 503})

RowPosition = tuple[int, int]  # log_offset, log_row


class Ledger:
    """What all answers so far agree on: the positions of the rows below their watermarks."""

    def __init__(self) -> None:
        self.answers = 0
        self.again = 0
        self.wrong: list[str] = []
        self._known: dict[int, tuple[int, set[RowPosition]]] = {}  # by log partition
        self._lock = threading.Lock()

    def compare(self, who: str, rows: pa.Table, watermark: dict[int, int]) -> None:
        """Compare an answer with those before it, of whichever worker."""
        positions = _positions(rows)
        names = ("source_partition", "source_offset", "source_index")
        sources = set(zip(*_columns(rows, *names), strict=True))
        with self._lock:
            self.answers += 1
            if len(sources) != rows.num_rows:
                self.wrong.append(f"{who}: {rows.num_rows} rows of {len(sources)} raw records")
            for partition, mark in watermark.items():
                self._compare(who, partition, mark, positions.get(partition, set()))

    def _compare(self, who: str, partition: int, mark: int, found: set[RowPosition]) -> None:
        known_mark, known = self._known.get(partition, (0, set()))
        common = min(mark, known_mark)
        before = {position for position in known if position[0] < common}
        now = {position for position in found if position[0] < common}
        if before != now:
            self.wrong.append(
                f"{who}: below {partition}:{common} holes {sorted(before - now)[:5]}, "
                f"rows that were not there {sorted(now - before)[:5]}"
            )
        if any(position[0] >= mark for position in found):
            self.wrong.append(f"{who}: rows of {partition} at or above its own watermark {mark}")
        if mark > known_mark:
            self._known[partition] = (mark, found)

    def compare_again(self, who: str, first: pa.Table, second: pa.Table) -> None:
        """An answer and the one to its token are the same."""
        with self._lock:
            self.again += 1
            if _positions(first) != _positions(second):
                self.wrong.append(f"{who}: asked again with its token, the rows differ")


class Asker(threading.Thread):
    """Asks one worker until `end` is set, again where it does not answer."""

    def __init__(
        self, ledger: Ledger, worker: LocalWorker, symbol: str, pause_s: float = 0.0
    ) -> None:
        super().__init__(daemon=True)
        self._pause_s = pause_s
        self.end = threading.Event()
        self._ledger = ledger
        self._worker = worker
        self._symbol = symbol

    def run(self) -> None:
        asked = 0
        while not self.end.is_set():
            asked += 1
            if self._pause_s:
                self.end.wait(self._pause_s)
            found = self._ask()
            if found is None:
                # Nobody listens there now: do not ask a thousand times per second.
                self.end.wait(0.02)
                continue
            rows, meta = found
            watermark = {int(p): int(offset) for p, offset in meta["offsets"].items()}
            self._ledger.compare(self._worker.url, rows, watermark)
            if meta["next_cursor"] is not None:
                self._ledger.wrong.append(f"more than {LIMIT} rows: take a smaller symbol")
            if asked % AGAIN_EVERY == 0:
                again = self._ask(f"&as_of={meta['token']}")
                if again is not None:
                    self._ledger.compare_again(self._worker.url, rows, again[0])

    def _ask(self, more: str = "") -> tuple[pa.Table, dict[str, Any]] | None:
        question = f"/v1/trades?symbol={self._symbol}&limit={LIMIT}&format=arrow{more}"
        try:
            answer = self._worker.fetch(question, ANSWER_WITHIN_S)
            rows = pa.ipc.open_stream(answer.body).read_all()
        except StatusError as error:
            if error.status not in NOT_READY:
                self._ledger.wrong.append(f"status {error.status}: {error.body!r}")
            return None
        except (OSError, pa.ArrowInvalid):
            return None  # it was killed in the middle of the answer, or before
        return rows, msgspec.json.decode(rows.schema.metadata[META_KEY])


class Asking:
    """Askers of several workers at once. Use as a context manager; then read `ledger`.

    Args:
        symbol: asked for.
        workers: that are asked.
        pause_s: before each question; without one both processes are busy with nothing else.
    """

    def __init__(
        self, symbol: str, workers: Iterable[LocalWorker], *, pause_s: float = 0.0
    ) -> None:
        self.ledger = Ledger()
        self._askers = [Asker(self.ledger, worker, symbol, pause_s) for worker in workers]

    def __enter__(self) -> Ledger:
        for asker in self._askers:
            asker.start()
        return self.ledger

    def __exit__(self, *_: object) -> None:
        for asker in self._askers:
            asker.end.set()
        for asker in self._askers:
            asker.join(2 * ANSWER_WITHIN_S)


def _columns(rows: pa.Table, *names: str) -> list[list[int]]:
    return [rows[name].to_pylist() for name in names]


def _positions(rows: pa.Table) -> dict[int, set[RowPosition]]:
    positions: dict[int, set[RowPosition]] = {}
    for partition, offset, row in zip(
        *_columns(rows, "log_partition", "log_offset", "log_row"), strict=True
    ):
        positions.setdefault(partition, set()).add((offset, row))
    return positions
