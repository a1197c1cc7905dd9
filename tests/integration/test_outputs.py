"""A user's outputs on a real broker: topic, table, tail, path, proof, status, metrics and page."""

import urllib.request
from collections import Counter
from typing import Any

import pytest
from conftest import Cluster, eventually  # type: ignore[import-not-found]
from outputs_app import bucket_of, is_large  # type: ignore[import-not-found]

from k2_streams.testing.client import StatusError
from k2_streams.testing.local.workers import LocalWorker

pytestmark = pytest.mark.integration

MESSAGES = 4_000


def rows_of(worker: LocalWorker, path: str) -> list[dict[str, Any]]:
    """All rows of a path."""
    answer = worker.get(f"{path}{'&' if '?' in path else '?'}limit=100000")
    assert answer["meta"]["next_cursor"] is None
    return answer["data"]  # type: ignore[no-any-return]


def watermark_of(worker: LocalWorker) -> int:
    """How far an output's answers reach, all partitions together."""
    marks = worker.get("/v1/status")["streams"]["buckets"]["watermark"]
    return sum(marks.values())


def has_worked(worker: LocalWorker, trades: LocalWorker) -> bool:
    """Whether what the trades' worker has written is in the outputs' answers."""
    ends = trades.get("/v1/trades?limit=1")["meta"]["offsets"]
    marks = worker.get("/v1/status")["streams"]
    return all(
        marks[name]["watermark"].get(partition, 0) >= end
        for name in ("large-prints", "buckets")
        for partition, end in ends.items()
    )


def check_rows(worker: LocalWorker, trades: LocalWorker) -> None:
    """Each output holds what its definition makes of the accepted trades, once."""
    accepted = rows_of(trades, "/v1/trades")
    large = [row for row in accepted if is_large(row["sequence"])]
    assert large
    found = rows_of(worker, "/v1/large-prints")
    assert Counter((row["symbol"], row["message_offset"]) for row in found) == Counter(
        (row["symbol"], row["source_offset"]) for row in large
    )
    assert all(row["prints"][1] is None for row in found)
    one = found[0]["symbol"]
    of_symbol = rows_of(worker, f"/v1/large-prints?symbol={one}")
    assert of_symbol == [row for row in found if row["symbol"] == one]
    expected = Counter(bucket_of(row["exchange_time_ns"]) for row in accepted)
    for bucket, count in expected.items():
        assert len(rows_of(worker, f"/v1/buckets?bucket={bucket}")) == count
    both = rows_of(worker, "/v1/buckets?bucket=-3&bucket=2")
    assert len(both) == expected[-3] + expected[2]


def test_outputs_are_products_without_further_code(k2: Cluster) -> None:
    """Through kill -9: each output is in its topic, its table and its answers, once."""
    worker = k2.worker(app="outputs_app")
    with k2.worker() as trades, worker:
        k2.produce("--messages", str(MESSAGES), "--symbols", "5", "--seed", "3", "--gaps", "1%")
        eventually(lambda: watermark_of(worker) > 0, what="some rows in the outputs")
        worker.kill()
        worker.start().wait_ready()
        k2.produce("--messages", str(MESSAGES), "--symbols", "5", "--seed", "4")
        eventually(lambda: k2.has_answered_all(trades), what="trades worked")
        eventually(lambda: has_worked(worker, trades), what=lambda: worker.get("/v1/status"))
        check_rows(worker, trades)

        status = worker.get("/v1/status")
        assert list(status["streams"]) == ["large-prints", "buckets"]
        assert status["ready"]
        assert "dedup" not in status
        for path in ("/v1/gaps", "/v1/lines", "/v1/symbols", "/v1/trades"):
            with pytest.raises(StatusError, match="404"):
                worker.get(path)
        described = worker.get("/v1/openapi.json")["paths"]
        assert {"/v1/large-prints", "/v1/buckets", "/pages/symbols-of-bucket"} < set(described)

        page = worker.get("/pages/symbols-of-bucket?bucket=2")
        assert page["symbols"] == sorted(
            {row["symbol"] for row in rows_of(worker, "/v1/buckets?bucket=2")}
        )
        pinned = worker.get("/v1/buckets?bucket=2&limit=100000")
        check_lake(worker, pinned)


def check_lake(worker: LocalWorker, pinned: dict[str, Any]) -> None:
    """The tables get the rows, and the token gives the same rows from there."""

    def committed() -> bool:
        streams = worker.get("/v1/status")["streams"]
        return all(
            one["tail"]["rows"] == 0 and one["sink"]["error"] is None for one in streams.values()
        )

    eventually(committed, what=lambda: worker.get("/v1/status"))
    again = worker.get(f"/v1/buckets?bucket=2&limit=100000&as_of={pinned['meta']['token']}")
    assert again["data"] == pinned["data"]
    assert again["meta"]["rows_tail"] == 0
    for stream in ("large-prints", "buckets"):
        (newest, *_) = worker.get(f"/v1/snapshots?stream={stream}")["data"]
        assert newest["rows_total"] == len(rows_of(worker, f"/v1/{stream}"))
    with urllib.request.urlopen(worker.url + "/metrics", timeout=10) as answer:  # noqa: S310 - loopback
        text = answer.read().decode()
    for stream in ("large-prints", "buckets"):
        assert f'k2_sink_buffered_rows{{stream="{stream}"}} 0.0' in text
        assert f'k2_lake_committed_rows_total{{stream="{stream}"}}' in text
