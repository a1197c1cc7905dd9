"""What a worker's log keeps back: the same warning, a thousand times a second."""

import logging

from k2_streams.runtime.logs import REPEAT_AFTER_S, WARNINGS_MAX, Seldom

AWAY = "Unable connect to node with id %s: %s"


def said(seldom, at_s, msg=AWAY, args=(1, "refused"), level=logging.ERROR):
    """What of a record gets through; None: nothing."""
    record = logging.LogRecord("aiokafka", level, "client.py", 1, msg, args, None)
    record.created = at_s
    return record.getMessage() if seldom.filter(record) else None


def test_a_broker_that_is_away_is_said_once_in_a_while_with_how_often_it_was_tried():
    seldom = Seldom()
    lines = [line for n in range(2_500) if (line := said(seldom, n / 100))]
    assert REPEAT_AFTER_S == 10.0
    assert lines == [
        "Unable connect to node with id 1: refused",
        "Unable connect to node with id 1: refused (and 999 times before)",
        "Unable connect to node with id 1: refused (and 999 times before)",
    ]


def test_another_node_another_reason_and_what_is_no_warning_are_said_at_once():
    seldom = Seldom()
    assert said(seldom, 0.0)
    assert said(seldom, 0.1, args=(2, "refused"))
    assert said(seldom, 0.2, args=(1, "timed out"))
    assert all(said(seldom, 0.3, "joined", (), logging.INFO) for _ in range(3))


def test_a_warning_that_is_seldom_by_itself_is_said_as_it_is():
    seldom = Seldom()
    assert {said(seldom, n * REPEAT_AFTER_S) for n in range(3)} == {AWAY % (1, "refused")}


def test_a_clock_that_is_set_back_silences_nothing():
    seldom = Seldom()
    assert said(seldom, 3_600.0)
    assert said(seldom, 0.0)


def test_what_is_remembered_is_bounded():
    seldom = Seldom()
    assert all(said(seldom, 0.0, args=(n, "refused")) for n in range(3 * WARNINGS_MAX))
    assert len(seldom._said) <= WARNINGS_MAX
