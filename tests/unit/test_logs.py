"""What a worker's log keeps back: the same warning, a thousand times a second."""

import asyncio
import io
import logging
import re

import pytest
import structlog
from aiohttp import web

from k2_streams.runtime.logs import configure_logs, shape
from k2_streams.runtime.logs.sampler import (
    EVENTS_MAX,
    OTHER_EVENTS_MAX,
    SAME_EVENT_MAX,
    SAMPLE_INTERVAL_S,
    Sampler,
)

AWAY = "Unable connect to node with id %s: %s"


def said(sampler, at_s, msg=AWAY, args=(1, "refused"), level=logging.ERROR):
    """What of a record gets through; None: nothing."""
    record = logging.LogRecord("aiokafka", level, "client.py", 1, msg, args, None)
    record.created = at_s
    return record.getMessage() if sampler.filter(record) else None


def test_a_broker_that_is_away_is_said_once_in_a_while_with_how_often_it_was_tried():
    sampler = Sampler()
    lines = [line for n in range(2_500) if (line := said(sampler, n / 100))]
    assert SAMPLE_INTERVAL_S == 10.0
    assert lines == [
        "Unable connect to node with id 1: refused",
        "Unable connect to node with id 1: refused (and 999 times before)",
        "Unable connect to node with id 1: refused (and 999 times before)",
    ]


def test_another_node_another_reason_and_what_is_no_warning_are_said_at_once():
    sampler = Sampler()
    assert said(sampler, 0.0)
    assert said(sampler, 0.1, args=(2, "refused"))
    assert said(sampler, 0.2, args=(1, "timed out"))
    assert all(said(sampler, 0.3, "joined", (), logging.INFO) for _ in range(3))


def test_a_warning_that_is_rare_by_itself_is_written_as_it_is():
    sampler = Sampler()
    assert {said(sampler, n * SAMPLE_INTERVAL_S) for n in range(3)} == {AWAY % (1, "refused")}


def test_a_clock_that_is_set_back_silences_nothing():
    sampler = Sampler()
    assert said(sampler, 3_600.0)
    assert said(sampler, 0.0)


def lines_of(sampler, at_s, numbers, level=logging.ERROR):
    """What is written of a text per number, each other than all before."""
    lines = (said(sampler, at_s, args=(number, "refused"), level=level) for number in numbers)
    return [line for line in lines if line]


def test_different_events_beyond_those_counted_share_a_bound_per_level():
    sampler = Sampler()
    texts = range(3 * EVENTS_MAX)
    assert len(lines_of(sampler, 0.0, texts)) == EVENTS_MAX + OTHER_EVENTS_MAX
    assert len(lines_of(sampler, 1.0, texts, logging.WARNING)) == OTHER_EVENTS_MAX
    assert sampler.events == EVENTS_MAX + 2, "what is counted is bounded, whatever is logged"
    # The others' next interval says how many were suppressed; the counted ones begin anew.
    late = lines_of(sampler, SAMPLE_INTERVAL_S, texts)
    assert len(late) == EVENTS_MAX + OTHER_EVENTS_MAX
    suppressed = 2 * EVENTS_MAX - OTHER_EVENTS_MAX
    assert f"(and {suppressed} times before)" in late[EVENTS_MAX]


def test_an_event_whose_interval_is_over_makes_room_for_another():
    sampler = Sampler()
    assert len(lines_of(sampler, 0.0, range(EVENTS_MAX))) == EVENTS_MAX
    new = range(EVENTS_MAX, 2 * EVENTS_MAX)
    assert len(lines_of(sampler, SAMPLE_INTERVAL_S, new)) == EVENTS_MAX
    assert lines_of(sampler, SAMPLE_INTERVAL_S + 1, new) == [], "they are counted"


def test_a_clock_set_back_makes_room_as_well():
    sampler = Sampler()
    lines_of(sampler, 3_600.0, range(2 * EVENTS_MAX))
    assert len(lines_of(sampler, 0.0, range(EVENTS_MAX))) == EVENTS_MAX


def test_an_event_of_k2_is_written_a_bounded_number_of_times_whatever_its_fields():
    sampler = Sampler()
    written = []
    for n in range(10 * SAME_EVENT_MAX + 1):
        at_s = 0.0 if n < 10 * SAME_EVENT_MAX else SAMPLE_INTERVAL_S
        record = logging.LogRecord("k2", logging.ERROR, "f", 1, {"event": "e", "n": n}, (), None)
        record.created = at_s
        if sampler.filter(record):
            written.append(record.msg)
    assert [line["n"] for line in written[:-1]] == list(range(SAME_EVENT_MAX))
    assert written[-1] == {"event": "e", "n": 1_000, "suppressed": 9 * SAME_EVENT_MAX}


@pytest.fixture
def root_output():
    """What the root logger's handler writes, shaped as a worker's."""
    handlers, level = logging.root.handlers[:], logging.root.level
    library = logging.getLogger("aiokafka")
    library_level = library.level  # commands that expect a broker to be away have silenced it
    library.setLevel(logging.NOTSET)
    output = io.StringIO()
    logging.root.handlers[:] = [logging.StreamHandler(output)]
    logging.root.setLevel(logging.INFO)
    configure_logs()
    shape(logging.root.handlers)
    try:
        yield output
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        library.setLevel(library_level)


def test_lines_of_k2_and_of_libraries_have_the_same_shape(root_output):
    structlog.get_logger("k2_streams.one").warning("task restored", partition=3)
    logging.getLogger("faust.two").warning("[^--Consumer]: %s", "joined\nthe group")
    try:
        int("why")
    except ValueError:
        structlog.get_logger("k2_streams.one").exception("sink failed")
        logging.getLogger("aiokafka").exception("crashed")
    lines = root_output.getvalue().splitlines()
    shaped = [line for line in lines if line.startswith("timestamp=")]
    pattern = r"timestamp='[\d:.T-]+Z' level='(warning|error)' logger='[\w.]+' event='.+'.*"
    assert all(re.fullmatch(pattern, line) for line in shaped)
    assert shaped[0].endswith("event='task restored' partition=3")
    assert "joined\\nthe group" in shaped[1]
    assert len(shaped) == 4
    assert sum(line.startswith("ValueError: ") for line in lines) == 2


async def test_a_malformed_request_is_one_line_without_its_bytes(root_output):
    runner = web.AppRunner(web.Application(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        for sent in (b"GET / HTTP/1.1\r\nA\x00B: \xff\r\n\r\n", b"GET / HTTP/9.x9\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            assert b" 400 " in await reader.readline()
            writer.close()
    finally:
        await runner.cleanup()
    lines = root_output.getvalue().splitlines()
    assert len(lines) == 2
    for line in lines:
        assert "malformed HTTP request from 127.0.0.1" in line
        assert "level='warning'" in line


def test_what_aiokafka_tries_again_is_a_warning_and_what_it_raises_an_error(root_output):
    log = logging.getLogger("aiokafka.consumer.group_coordinator")
    log.error("Group Coordinator Request failed: %s", "GroupCoordinatorNotAvailableError")
    log.error("Unexpected error", exc_info=ValueError("why"))
    levels = re.findall("level='(\\w+)'", root_output.getvalue())
    assert levels == ["warning", "error"]
