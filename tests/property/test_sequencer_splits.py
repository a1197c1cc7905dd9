"""The task's decisions do not depend on how records were cut into batches or epochs."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_streams.core import events, sequence_codec
from k2_streams.core.sequence import ScopeState
from k2_streams.core.stream import TRADES
from k2_streams.feeds.feed import FEEDS
from k2_streams.runtime.epoch import Epoch
from k2_streams.runtime.sequencer import Sequencer
from k2_streams.state.store import PartitionStore
from k2_streams.state.table import Table

BASE_NS = 1_700_000_000_000_000_000


class Raw(NamedTuple):
    """As aiokafka gives a record, as far as a task reads it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def value(symbol: str, sequence: int, hours: int) -> bytes:
    return json.dumps(
        {
            "exchange": "X",
            "symbol": symbol,
            "price": "1.25",
            "quantity": "3",
            "exchange_time_ns": BASE_NS + hours * 3_600 * 10**9 + sequence,
            "sequence": sequence,
        }
    ).encode()


GOOD = st.builds(
    lambda symbol, sequence, hours: (f"X:{symbol}".encode(), value(symbol, sequence, hours)),
    st.sampled_from("ABC"),
    st.integers(0, 30),
    st.sampled_from([0, 0, 0, 2]),
)
BAD = st.sampled_from(
    [
        (b"X:A", b"{"),
        (b"X:A", b""),
        (None, b"{}"),
        (b"X:A", b'{"a":"x'),
        (b"X:A", b'y"}'),
        (b"X:B", value("A", 3, 0)),
        (b"X:A", value("A", 4, 0).replace(b"1.25", b"-1")),
    ]
)
HEADERS = st.sampled_from([(), (), (), (("feed", b"nobody"),), (("trace", b"1"),)])


@st.composite
def records(draw: Any) -> list[Raw]:
    made = draw(st.lists(st.one_of(GOOD, GOOD, GOOD, BAD), min_size=1, max_size=40))
    return [
        Raw(offset, BASE_NS // 10**6, key, content, draw(HEADERS))
        for offset, (key, content) in enumerate(made)
    ]


def work(raw: Sequence[Raw], cuts: set[int], seals: set[int]) -> dict[str, Any]:
    """All records in batches cut at `cuts`, an epoch sealed at `seals`; what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        store = PartitionStore(Path(folder) / "s")
        store.open()
        table: Table[ScopeState] = Table(store, sequence_codec.encode, sequence_codec.decode, 0, 0)
        sequencer = Sequencer(TRADES, FEEDS, 0, 1, table, check_partition=True)
        epochs, start = [Epoch(TRADES, 0)], 0
        sealed = table.seal()
        for end in sorted({*cuts, *seals, len(raw)} - {0}):
            sequencer.process(raw[start:end], end, epochs[-1])
            start = end
            if end in seals or end == len(raw):
                sealed = table.seal()
                epochs.append(Epoch(TRADES, end))
        store.close()
    rows = [row for epoch in epochs for batch in epoch.rows for row in batch.to_pylist()]
    return {
        "rows": rows,
        "events": [events.encode(event) for epoch in epochs for event in epoch.events],
        "letters": [letter for epoch in epochs for letter in epoch.dead_letters],
        "duplicates": sum(epoch.duplicates.count for epoch in epochs),
        "table": (sealed.count, sealed.checksum),
        "verdicts": {
            name: sum(epoch.verdicts[name] for epoch in epochs)
            for name in ("first", "in_order", "late", "duplicate", "reset", "stale")
        },
    }


@settings(max_examples=60, deadline=None)
@given(records(), st.data())
def test_any_split_gives_the_same_rows_events_letters_and_state(raw: list[Raw], data: Any) -> None:
    """One batch, or every record alone, or anything between."""
    offsets = st.sets(st.integers(1, len(raw)))
    whole = work(raw, set(), set())
    assert work(raw, data.draw(offsets), data.draw(offsets)) == whole
    assert work(raw, set(range(len(raw))), set()) == whole
    assert len(whole["rows"]) + len(whole["letters"]) <= len(raw) + whole["duplicates"]


def test_an_epoch_without_rows_still_says_how_far_it_came() -> None:
    """At least one record of trades, with the source's position in its headers."""
    epoch = Epoch(TRADES, 17)
    epoch.seal(2)
    (only,) = epoch.outputs(2, 5, 3)
    assert dict(only.headers)["k2.raw-next"] == b"17"
    assert dict(only.headers)["k2.events"] == b"3"
    assert pa.ipc.open_stream(only.value).read_all().num_rows == 0
