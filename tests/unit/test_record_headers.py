"""Every header that Kafka allows has an outcome: the last one of a name counts, null is none."""

from pathlib import Path

import pytest
from sequencer_world import T0_MS, canonical, world

SPOT, NOBODY, NULL = ("feed", b"binance.spot"), ("feed", b"nobody"), ("feed", None)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ((NULL,), None),
        ((NOBODY, NULL), None),
        ((NOBODY, ("feed", b"canonical")), None),
        ((("feed", b"canonical"), NOBODY), "unknown-feed"),
        ((("feed", b""),), "unknown-feed"),
        ((("feed", b"\xff\xfe"),), "unknown-feed"),
        ((("FEED", b"nobody"), ("", b""), ("trace", None)), None),
        ((("line", None),), None),
        ((("line", b" "), ("line", None)), None),
        ((("line", b"A"), ("line", b"")), "bad-line"),
        ((("line", b"\xff"),), "bad-line"),
        ((("line", b"A" * 1_000_000),), "bad-line"),
        ((("feed", b"A" * 1_000_000),), "unknown-feed"),
    ],
)
def test_headers(tmp_path: Path, headers: tuple, reason: str | None) -> None:
    """Between two records without any, which are rows whatever stands between them."""
    records = [canonical(0, 0), canonical(1, 1, headers=headers), canonical(2, 2)]
    with world(tmp_path) as at:
        epoch = at.process(records)
        assert epoch.row_count == (3 if reason is None else 2)
        assert dict(epoch.reasons) == ({} if reason is None else {reason: 1})
        for letter in epoch.dead_letters:
            assert letter.headers[: len(headers)] == headers
            assert len(dict(letter.headers)["k2.detail"]) <= 512


@pytest.mark.parametrize("timestamp", [-1, 0, -(2**62), 9_007_199_254_740_991_000, 2**62])
def test_append_times(tmp_path: Path, timestamp: int) -> None:
    """A topic altered to its producers' times may hold any: an outcome, and nothing wraps."""
    odd = canonical(1, 1)._replace(timestamp=timestamp)
    bad = canonical(2, 2, price="-1")._replace(timestamp=timestamp)
    with world(tmp_path) as at:
        epoch = at.process([canonical(0, 0), odd, bad, canonical(3, 3)])
        assert epoch.row_count + len(epoch.dead_letters) == 4
        assert epoch.progress is not None
        assert epoch.progress.append_time_ms >= T0_MS
        for batch in epoch.rows["k2.trades"]:
            assert all(row["ingest_time"].year >= 1970 for row in batch.to_pylist())
