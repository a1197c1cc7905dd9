"""A worker with a ledger, in memory: a gap reaches its table, SQL and coverage, once."""

import pytest
from raw_agents import raw_topology

from k2_streams.query.ledger.coverage import CoverageRequest
from k2_streams.query.request import GapsRequest, RowsRequest
from k2_streams.runtime.node import tail_quota

pytestmark = pytest.mark.usefixtures("quiet_logs")
TRADES = raw_topology("k2")
RAW = "k2.trades.raw"
SETTINGS = {"K2_LEDGER": 1, "K2_LAKE_COMMIT_INTERVAL_S": 1}


def trade(sequence: int) -> dict:
    return {
        "exchange": "X", "symbol": "A", "price": "1.5", "quantity": "2",
        "exchange_time_ns": 1_700_000_000_000_000_000 + sequence, "sequence": sequence,
    }  # fmt: skip


@pytest.mark.parametrize("crash", [None, "lake.committed", "checkpoint.committed"])
def test_findings_are_in_their_tables_once(k2_driver, crash):
    driver = k2_driver(TRADES, partitions=2, settings=SETTINGS)
    for number in (1, 2, 5, 4):
        driver.input(RAW).send(trade(number))
    driver.input(RAW).send(b"no message", key="X:A")
    if crash is not None:
        driver.crash(at=crash)
        driver.restart()
    driver.commit_lake()
    run = driver._run

    def ask(name, question):
        query = run.output_of(name).node.query
        return run.in_worker(getattr(query, question[0])(question[1]))

    events = ask("gap_events", ("rows", RowsRequest()))
    # In the order of event time: the late message is older than the one that opened the gap.
    assert [row["type"] for row in events.rows.to_pylist()] == ["late", "gap_opened"]
    assert events.meta.complete
    assert events.meta.rows_lake == 2
    letters = ask("dead_letters", ("rows", RowsRequest())).rows.to_pylist()
    assert [(row["reason"], row["value"]) for row in letters] == [("not-json", b"no message")]
    assert letters[0]["accepted_time"].year > 2000
    assert ask("levels", ("rows", RowsRequest())).rows.num_rows == 0
    answer = ask("gap_events", ("gaps", GapsRequest()))
    assert [(gap.first, gap.last, gap.missing) for gap in answer.gaps] == [(3, 4, ((3, 3),))]
    coverage = ask("trades", ("coverage", CoverageRequest()))
    (row,) = coverage.rows.to_pylist()
    counts = [row[name] for name in ("expected", "received", "late", "missing", "rows")]
    assert counts == [5, 4, 1, 1, 4]
    assert coverage.meta.complete


def test_the_source_waits_for_the_tail_of_its_rows_and_for_none_of_its_ledger(
    k2_driver, monkeypatch
):
    driver = k2_driver(TRADES, partitions=2, settings=SETTINGS)
    driver.input(RAW).send(trade(1))
    worker = driver._run.worker().parts
    monkeypatch.setattr(tail_quota, "used_share", lambda _used, _limit: 1.0)
    for log in worker.answered:
        log.node.quota.look()
    held = {one.stream.name for one in worker.answered if one.node.quota.is_source_paused}
    assert (len(worker.answered), held) == (5, {"trades"})
    assert worker.flow._holders["tail_full"] == {"k2.trades"}
