"""A query node (`K2_ROLE=query`): outside the group, and its answers are those of any node."""

import msgspec
import pytest
from raw_agents import raw_topology
from test_ledger_worker import RAW, SETTINGS, trade

from k2_streams.kafka.acls import Operation, Resource
from k2_streams.query.ledger.coverage import CoverageRequest
from k2_streams.query.request import GapsRequest, RowsRequest, SymbolsRequest
from k2_streams.query.token import Token
from k2_streams.runtime.acls import acls_of
from k2_streams.runtime.settings.worker import from_environment
from k2_streams.runtime.topics import topics_of

pytestmark = pytest.mark.usefixtures("quiet_logs")
TRADES = raw_topology("k2")
#: What each node says of itself: when, how fast, from where.
OF_THE_NODE = {"elapsed_ms", "stages_ms", "rows_lake", "rows_tail", "lag_records", "level"}
#: They have the time at which they were given.
TOKENS = {"token", "events_token"}
#: Virtual time in which a node has looked at the ends of the topics: an empty fetch takes 5 s.
OBSERVED_S = 11


@pytest.fixture
def nodes(k2_driver):
    """A driver with a worker, which processes, and the query node that follows it."""
    driver = k2_driver(TRADES, partitions=2, settings=SETTINGS)
    driver.input(RAW).send(trade(1))
    fleet = driver._run._fleet
    node = fleet.start(7, "query")
    assert fleet.until(lambda: fleet.is_up, 60.0)
    return driver, fleet, fleet.workers[0], node


def ask(fleet, worker, name, method, request):
    log = next(one for one in worker.parts.answered if one.stream.name == name)
    return fleet.in_worker(worker, getattr(log.node.query, method)(request))


def proof(answer, but=frozenset()):
    return {
        name: value
        for name, value in msgspec.structs.asdict(answer.meta).items()
        if name not in OF_THE_NODE | but
    }


def follow(fleet, worker, node):
    """The node has read what the worker has written."""

    def ends(one):
        return {log.stream.name: log.node.tail.ends for log in one.parts.answered}

    assert fleet.until(lambda: ends(node) == ends(worker), 30.0)


def test_any_node_gives_the_same_answer_for_a_token(nodes):
    driver, fleet, worker, node = nodes
    for number in (2, 5, 4):
        driver.input(RAW).send(trade(number))
    driver.input(RAW).send(b"no message", key="X:A")
    driver.commit_lake()
    driver.input(RAW).send(trade(6))  # in the tails alone
    driver._run.settle()
    follow(fleet, worker, node)
    first = ask(fleet, worker, "trades", "rows", RowsRequest())
    token = Token.decode(first.meta.token)
    again = ask(fleet, node, "trades", "rows", RowsRequest(as_of=token))
    assert again.rows.equals(first.rows)
    assert proof(again) == proof(first) | {"pinned": True}
    assert (first.meta.rows, first.meta.complete, first.meta.dead_letters) == (5, False, 1)
    # And the other way round.
    own = ask(fleet, node, "trades", "rows", RowsRequest())
    assert proof(own, TOKENS) == proof(first, TOKENS)
    token = Token.decode(own.meta.token)
    assert ask(fleet, worker, "trades", "rows", RowsRequest(as_of=token)).rows.equals(own.rows)
    for name, method, request in (
        ("gap_events", "rows", RowsRequest()),
        ("gap_events", "gaps", GapsRequest()),
        ("dead_letters", "rows", RowsRequest()),
        ("levels", "rows", RowsRequest()),
        ("trades", "symbols", SymbolsRequest()),
        ("trades", "coverage", CoverageRequest()),
    ):
        answers = [ask(fleet, one, name, method, request) for one in (worker, node)]
        proofs = [proof(answer, TOKENS) for answer in answers]
        assert proofs[0] == proofs[1], (name, method)
        for part in ("rows", "gaps", "symbols"):
            assert getattr(answers[0], part, None) == getattr(answers[1], part, None)


def test_a_query_node_owns_nothing_and_writes_nothing(nodes):
    _, fleet, _, node = nodes
    parts = node.parts
    assert fleet._world.group.members == {"worker-0"}
    assert parts.owner.topics == set()
    assert list(parts.written) == []
    assert {name.partition(":")[0] for name in parts.supervisor.as_dict()} == {
        "events", "lake-view", "load", "tail", "tail-given", "tail-quota", "topics", "watchdog",
    }  # fmt: skip
    node.memory.share = 0.99  # a level would pause sources, and be published
    fleet.pass_until(fleet.elapsed_s + 5)
    assert parts.status.as_dict()["level"] == "NORMAL"
    assert parts.status.ready().ok


def test_a_query_node_goes_on_without_any_worker_and_knows_what_is_not_processed(nodes):
    driver, fleet, worker, node = nodes
    follow(fleet, worker, node)
    fleet.kill(0)
    for number in (2, 3):
        driver.input(RAW).send(trade(number))
    fleet.pass_until(fleet.elapsed_s + OBSERVED_S)
    answer = ask(fleet, node, "trades", "rows", RowsRequest())
    assert (answer.meta.rows, answer.meta.lag_records) == (1, 2)
    assert node.parts.status.lag_records == 2
    fleet.start(0)
    assert fleet.until(lambda: fleet.is_up, 60.0)
    driver._run.settle()
    fleet.pass_until(fleet.elapsed_s + OBSERVED_S)
    answer = ask(fleet, node, "trades", "rows", RowsRequest())
    assert (answer.meta.rows, answer.meta.lag_records) == (3, 0)


def test_a_process_with_the_role_work_has_sinks_and_no_tails(k2_driver):
    driver = k2_driver(TRADES, partitions=2, settings={**SETTINGS, "K2_ROLE": "work"})
    driver.input(RAW).send(trade(1))
    parts = driver._run.worker().parts
    assert list(parts.answered) == []
    assert [log.stream.name for log in parts.written] == [
        "trades", "gap_events", "dead_letters", "levels", "repairs",
    ]  # fmt: skip
    assert not any("tail" in name for name in parts.supervisor.as_dict())
    driver._run.settle()
    fleet = driver._run._fleet
    node = fleet.start(1, "query")
    assert fleet.until(lambda: fleet.is_up, 60.0)

    def rows() -> int:
        return ask(fleet, node, "trades", "rows", RowsRequest()).meta.rows_lake

    assert fleet.until(lambda: parts.written[0].sink.positions[0] > 0 or rows() > 0, 30.0)
    fleet.pass_until(fleet.elapsed_s + 15)
    assert rows() == 1


def test_a_query_node_needs_the_topics_that_it_reads_and_may_only_read_them():
    settings = from_environment({"K2_ROLE": "query"})
    names = {spec.name for spec in topics_of(TRADES, settings)}
    assert names == {
        "k2.trades", "k2.trades.raw", "k2.sequence-events", "k2.dead-letter",
        "k2.trades.deferred", "k2.levels", "k2.trades.repairs",
    }  # fmt: skip
    acls = acls_of(TRADES, settings)
    assert {acl.resource for acl in acls} == {Resource.TOPIC}
    assert {acl.name for acl in acls} == names
    assert all(Operation.WRITE not in acl.operations for acl in acls)
