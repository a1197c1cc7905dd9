"""Ids: the batch gives what the plain step gives, over any split, seal, write and restart."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from k2_streams.core.dedup.ids import (
    BUCKETS,
    LIVE_BUCKETS,
    Memory,
    Remembered,
    Window,
    hashes_of,
    step,
    step_batch,
)
from k2_streams.state.ids import IdTable, SealedIds
from k2_streams.state.ids_codec import decode_ids
from k2_streams.state.ids_store import IDS_VERSION, IdsMeta, IdStore

WINDOW = Window(8 * 100)
#: So small that most of what is asked is "maybe": the store has to confirm it.
TINY = Memory.of(4, 0.9)

Message = tuple[bytes, int]


def plainly(messages: list[Message]) -> tuple[list[bool], Remembered]:
    """Every id through `step`."""
    known, out = Remembered(0, {}), []
    for identity, append_ms in messages:
        known, repeated = step(known, identity, append_ms, WINDOW)
        out.append(repeated)
    return out, known


class Partition:
    """A task's ids on a real store, with what its changelog holds."""

    def __init__(self, folder: str, memory: Memory) -> None:
        self.path, self.memory = Path(folder) / "ids", memory
        self.changelog: list[bytes] = []
        self.committed = ()
        self.now_ms = 0
        self.sealed: SealedIds | None = None
        self._open()

    def work(self, messages: list[Message]) -> list[bool]:
        times = np.array([append_ms for _, append_ms in messages], np.int64)
        now_ms = np.maximum.accumulate(np.maximum(times, self.now_ms))
        self.now_ms = int(now_ms[-1])
        hashes = hashes_of([identity for identity, _ in messages])
        return step_batch(self.table, WINDOW, hashes, now_ms).tolist()

    def begin(self) -> None:
        """A checkpoint's transaction is under way: the next epoch grows beside it."""
        if self.sealed is None:
            self.sealed = self.table.seal()

    def checkpoint(self, *, written: bool) -> None:
        """The transaction is committed; the store has it, or the process dies before it does."""
        self.begin()
        sealed, self.sealed = self.sealed, None
        assert sealed is not None
        self.changelog += sealed.records()
        self.committed = sealed.buckets
        if written and sealed.ids:
            meta = IdsMeta(IDS_VERSION, "c", len(self.changelog), 0, sealed.buckets)
            self.table.write(sealed, meta)

    def settle(self) -> None:
        """The checkpoint under way, if there is one, ends well."""
        if self.sealed is not None:
            self.checkpoint(written=True)

    def restart(self) -> None:
        """A kill, and a take-over from store and changelog."""
        self.store.close()
        self._open()

    def _open(self) -> None:
        self.store = IdStore(self.path)
        self.table = IdTable(self.store, self.memory, WINDOW)
        meta = self.store.open(self.table.load)
        live = {bucket.end_ms for bucket in self.committed}
        missing: dict[int, list[Any]] = {}
        for value in self.changelog[meta.changelog_offset if meta else 0 :]:
            for bucket, hashes in decode_ids(value):
                if bucket in live:
                    self.table.load(bucket, hashes)
                    missing.setdefault(bucket, []).append(hashes)
        gone = self.table.keep(self.committed)
        assert self.table.sums() == self.committed
        ids = {bucket: np.concatenate(parts) for bucket, parts in missing.items()}
        made = IdsMeta(IDS_VERSION, "c", len(self.changelog), 0, self.committed)
        self.store.write(ids, gone, made)


@st.composite
def streams(draw: Callable[..., Any]) -> list[Message]:
    """Few ids, so that they repeat; times that go on, jump, and now and then go back.

    The length is drawn first: lists of any length are mostly too short for a filter to be wrong,
    or for a bucket to grow old.
    """
    now, out = 1_000_000, []
    size = draw(st.sampled_from([1, 4, 12, 40, 80]))
    message = st.tuples(st.integers(0, 25), st.sampled_from([0, 0, 1, 7, 60, 100, 400, 900, -30]))
    for number, pace in draw(st.lists(message, min_size=size, max_size=size)):
        now += pace
        out.append((b"id-%d" % number, now))
    return out


@settings(max_examples=120, deadline=None)
@given(streams(), st.data(), st.sampled_from([TINY, Memory.of(1000, 0.001)]))
def test_any_split_and_any_restart_gives_what_the_plain_step_gives(
    messages: list[Message], data: Any, memory: Memory
) -> None:
    """Batches cut anywhere; checkpoints, lost writes and kills between them."""
    expected, known = plainly(messages)
    found: list[bool] = []
    with tempfile.TemporaryDirectory() as folder:
        partition = Partition(folder, memory)
        while len(found) < len(messages):
            size = data.draw(st.integers(1, 12))
            found += partition.work(messages[len(found) : len(found) + size])
            end = data.draw(st.sampled_from(["", "", "begin", "checkpoint", "unwritten", "kill"]))
            if end == "begin":
                partition.begin()
            elif end:
                partition.settle()
                partition.checkpoint(written=end == "checkpoint")
            if end in {"unwritten", "kill"}:
                partition.restart()
        partition.settle()
        partition.checkpoint(written=True)
        held = {bucket.end_ms: bucket.ids for bucket in partition.committed}
        partition.store.close()
    assert found == expected
    ends = list(known.bucket_of.values())
    assert held == {end: ends.count(end) for end in set(ends)}


@given(st.integers(0, 10**6), st.integers(0, 10**4))
@example(WINDOW.width_ms - 1, WINDOW.ttl_ms)  # the last moment of the first and the last bucket
@example(0, WINDOW.ttl_ms + WINDOW.width_ms)
def test_an_id_is_live_for_its_time_to_live_and_no_longer_than_nine_eighths(
    first_ms: int, later_ms: int
) -> None:
    """The promise, and what it costs."""
    bucket = WINDOW.bucket(first_ms)
    live = WINDOW.is_live(bucket, WINDOW.bucket(first_ms + later_ms))
    if later_ms <= WINDOW.ttl_ms:
        assert live
    if later_ms >= WINDOW.ttl_ms + WINDOW.width_ms:
        assert not live
    assert WINDOW.width_ms * BUCKETS == WINDOW.ttl_ms
    assert LIVE_BUCKETS == BUCKETS + 1
