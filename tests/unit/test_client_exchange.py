"""How the client asks: which node, after which pause, and when it stops. No socket is opened."""

import json
from datetime import date

import pyarrow as pa
import pytest

from k2_client.errors import (
    QuestionRefusedError,
    TooManyRowsError,
    UnavailableError,
    UnreadableError,
)
from k2_client.exchange import MAX_PAUSE_S, Nodes, NoReply, Question, Reply
from k2_client.operations import Operations
from k2_client.paging import MIN_PAGE_ROWS
from k2_client.result import META_KEY

A, B = "http://a:1", "http://b:2"
QUESTION = Question("/v1/trades")
GOOD = Reply(200, {}, b"{}")


def refusal(status, code, headers=None, field=None):
    error = {"code": code, "message": "m", "field": field}
    return Reply(status, headers or {}, json.dumps({"error": error}).encode())


BUSY = refusal(503, "busy", {"Retry-After": "2"})


class Clock:
    """Moves on by the pauses that are asked for."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def carried_out(operation, clock, outcomes, sent=None):
    """The operation's result, and what it sent; `outcomes` come in order, the last one for ever."""
    outcomes, sent = list(outcomes), [] if sent is None else sent
    try:
        step = next(operation)
        while True:
            clock.now_s += step.after_s
            sent.append(step)
            step = operation.send(outcomes.pop(0) if len(outcomes) > 1 else outcomes[0])
    except StopIteration as done:
        return done.value, sent


def asked(outcomes, url=(A, B), question=QUESTION):
    clock = Clock()
    nodes = Nodes(url, patience_s=30.0, clock=clock)
    return carried_out(nodes.ask(question), clock, outcomes)


def test_where_a_node_does_not_answer_the_next_is_asked_immediately():
    reply, sent = asked([NoReply("refused"), GOOD])
    assert reply is GOOD
    assert [(step.address, step.after_s) for step in sent] == [(A, 0.0), (B, 0.0)]


def test_the_node_that_answered_last_is_asked_first():
    clock = Clock()
    nodes = Nodes(f"{A},{B}", clock=clock)
    carried_out(nodes.ask(QUESTION), clock, [NoReply("refused"), GOOD])
    _, sent = carried_out(nodes.ask(QUESTION), clock, [GOOD])
    assert [step.address for step in sent] == [B]


def test_a_busy_node_is_asked_again_when_it_says():
    _, sent = asked([BUSY, GOOD], url=A)
    assert [step.after_s for step in sent] == [0.0, 2.0]


def test_of_two_busy_nodes_the_one_that_is_free_sooner_sets_the_pause():
    _, sent = asked([refusal(503, "busy", {"Retry-After": "4"}), BUSY, GOOD])
    assert [(step.address, step.after_s) for step in sent] == [(A, 0.0), (B, 0.0), (A, 2.0)]


def test_no_pause_is_longer_than_its_limit():
    _, sent = asked([refusal(429, "rate_limited", {"Retry-After": "3600"}), GOOD], url=A)
    assert [step.after_s for step in sent] == [0.0, MAX_PAUSE_S]


def test_patience_ends_and_says_what_became_of_each_node():
    clock = Clock()
    nodes = Nodes((A, B), patience_s=30.0, clock=clock)
    with pytest.raises(UnavailableError, match=r"a:1: refused.*b:2: refused"):
        carried_out(nodes.ask(QUESTION), clock, [NoReply("refused")])
    assert clock.now_s <= 30.0


def test_pauses_grow_while_nobody_answers():
    clock, sent = Clock(), []
    with pytest.raises(UnavailableError):
        carried_out(Nodes(A, clock=clock).ask(QUESTION), clock, [NoReply("refused")], sent)
    pauses = [step.after_s for step in sent]
    assert pauses[:5] == [0.0, 0.1, 0.2, 0.4, 0.8]
    assert max(pauses) == MAX_PAUSE_S


@pytest.mark.parametrize(
    "reply",
    [
        refusal(422, "invalid_parameter", field="limit"),
        refusal(401, "unauthorized"),
        refusal(500, "internal"),
        refusal(503, "query_timeout", {"Retry-After": "1"}),
    ],
)
def test_what_would_be_refused_again_is_not_asked_again(reply):
    with pytest.raises(QuestionRefusedError) as raised:
        asked([reply])
    assert raised.value.status == reply.status
    assert raised.value.code in reply.body.decode()


def test_a_refusal_names_the_field_and_its_correlation_id():
    body = {
        "error": {"code": "invalid_parameter", "message": "expected 1", "field": "limit"},
        "correlation_id": "x-1",
    }
    with pytest.raises(
        QuestionRefusedError, match=r"limit: expected 1 \(422 invalid_parameter\)"
    ) as found:
        asked([Reply(422, {}, json.dumps(body).encode())])
    assert (found.value.field, found.value.correlation_id) == ("limit", "x-1")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"error": 1}', b"\xff"])
def test_a_refusal_that_is_not_from_k2_is_shown_as_it_is(body):
    with pytest.raises(QuestionRefusedError) as raised:
        asked([Reply(404, {}, body)])
    assert raised.value.code == "http"


@pytest.mark.parametrize("url", ["localhost:6066", "ftp://a", "http://", "http://a?x=1", [], "a,b"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="address"):
        Nodes(url or [])


def page(rows, **meta):
    """An answer of rows."""
    proof = {"rows": rows, "complete": True, "gaps": [], "next_cursor": None, **meta}
    table = pa.table({"n": pa.array(range(rows))})
    table = table.replace_schema_metadata({META_KEY: json.dumps(proof)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return Reply(200, {}, sink.getvalue().to_pybytes())


def rows_asked(outcomes, options=None, page_rows=50_000):
    clock = Clock()
    operations = Operations(Nodes(A, clock=clock), page_rows)
    result, sent = carried_out(operations.rows("trades", "S", options or {}), clock, outcomes)
    return result, [dict(step.question.parameters) for step in sent]


def test_pages_follow_by_cursor_alone_and_are_one_result():
    gap = {"scope": "X:S", "session": "0", "first": 1, "last": 2, "state": "open"}
    later = {**gap, "state": "filled"}
    result, sent = rows_asked(
        [page(3, next_cursor="c1", gaps=[gap], complete=False), page(2, gaps=[later])],
        {"start": 5},
        page_rows=3,
    )
    assert len(result) == 5
    assert sent == [
        {"symbol": "S", "start": "5", "limit": "3", "format": "arrow"},
        {"cursor": "c1", "limit": "3", "format": "arrow"},
    ]
    assert result.proof["rows"] == 5
    assert result.gaps == [later]
    assert not result.complete, "one page was not"


def test_a_limit_is_over_all_pages_and_tells_that_there_are_more():
    result, sent = rows_asked(
        [page(3, next_cursor="c1"), page(1, next_cursor="c2")], {"limit": 4}, 3
    )
    assert [one["limit"] for one in sent] == ["3", "1"]
    assert result.truncated


def test_more_rows_than_are_taken_unasked_are_an_error(monkeypatch):
    monkeypatch.setattr("k2_client.operations.MAX_ROWS", 4)
    with pytest.raises(TooManyRowsError, match="limit="):
        rows_asked([page(3, next_cursor="c1"), page(1, next_cursor="c2")], page_rows=3)


def test_a_node_with_too_little_memory_for_a_page_gets_smaller_ones():
    large = refusal(413, "query_too_large")
    _, sent = rows_asked([large, large, page(1)])
    assert [one["limit"] for one in sent] == ["50000", "25000", "12500"]
    with pytest.raises(QuestionRefusedError):
        rows_asked([large], page_rows=MIN_PAGE_ROWS)


def test_a_page_without_rows_that_names_a_next_one_ends_the_question():
    with pytest.raises(UnreadableError, match="without rows"):
        rows_asked([page(0, next_cursor="c")])


@pytest.mark.parametrize("body", [b"", b"{}", b"\x00" * 64])
def test_an_answer_that_is_no_arrow_stream_is_unreadable(body):
    with pytest.raises(UnreadableError):
        rows_asked([Reply(200, {}, body)])


def test_a_join_asks_for_the_same_quotes_on_each_page():
    clock = Clock()
    operation = Operations(Nodes(A, clock=clock), 3).trades_quotes("S", {"strategy": "nearest"})
    pages = [page(3, next_cursor="c", quotes={"token": "q1"}), page(1, quotes={"token": "q1"})]
    _, sent = carried_out(operation, clock, pages)
    assert dict(sent[1].question.parameters) == {
        "strategy": "nearest", "quotes_as_of": "q1", "cursor": "c", "limit": "3", "format": "arrow",
    }  # fmt: skip


def test_questions_of_sketches_name_what_they_measure_and_of_which_minutes():
    operations = Operations(Nodes(A))
    asked = [
        operations.distinct("symbol", {"exchange": ["X", "Y"], "start": 0}),
        operations.top("volume", 3, {"window": "1h", "wait_ms": 5}),
        operations.quantiles("quantity", (0.5, 0.99), {"as_of": "tag:end-of-day"}),
    ]
    steps = [next(one).question for one in asked]
    form = ("format", "arrow")
    assert [(one.path, one.parameters) for one in steps] == [
        ("/v1/distinct",
         (("of", "symbol"), ("exchange", "X"), ("exchange", "Y"), ("start", "0"), form)),
        ("/v1/top",
         (("measure", "volume"), ("n", "3"), ("window", "1h"), ("wait_ms", "5"), form)),
        ("/v1/quantiles",
         (("of", "quantity"), ("q", "0.5"), ("q", "0.99"), ("as_of", "tag:end-of-day"), form)),
    ]  # fmt: skip


def test_days_of_coverage_are_dates_or_texts():
    days = [date(2026, 11, 30), "2026-12-01"]
    step = next(Operations(Nodes(A)).coverage("S", {"date": days, "exchange": "X"}))
    assert step.question.path == "/v1/coverage"
    assert step.question.parameters == (
        ("symbol", "S"), ("date", "2026-11-30"), ("date", "2026-12-01"), ("exchange", "X"),
        ("format", "arrow"), ("limit", "10000"),
    )  # fmt: skip
