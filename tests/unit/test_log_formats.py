"""The log has one shape for all who write, as `K2_LOG_FORMAT` says."""

import ast
import asyncio
import io
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import structlog

from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.runtime.logs import configure_logs, shape
from k2_streams.runtime.logs.formats import RESERVED_FIELDS
from k2_streams.runtime.settings.worker import SettingsError, from_environment

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("faust", "mode", "aiokafka", "aiohttp")
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


@pytest.fixture
def json_lines():
    """What the root logger's handler writes, as objects."""
    handlers, level = logging.root.handlers[:], logging.root.level
    # Commands that expect a broker to be down have silenced some.
    libraries = {logging.getLogger(name): logging.getLogger(name).level for name in LIBRARIES}
    for library in libraries:
        library.setLevel(logging.NOTSET)
    output = io.StringIO()
    logging.root.handlers[:] = [logging.StreamHandler(output)]
    logging.root.setLevel(logging.INFO)
    shape(logging.root.handlers, "json")
    configure_logs("json")
    try:
        yield lambda: [json.loads(line) for line in output.getvalue().splitlines()]
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        for library, former in libraries.items():
            library.setLevel(former)


@pytest.mark.parametrize("library", ["faust.app", "mode.services", "aiokafka.consumer", "aiohttp"])
def test_a_line_of_k2_and_one_of_a_library_are_objects_of_the_same_fields(json_lines, library):
    structlog.get_logger("k2_streams.one").warning("task restored", partition=3)
    logging.getLogger(library).warning("[^--Consumer]: %s", "joined\nthe group")
    own, theirs = json_lines()
    assert list(own) == ["timestamp", "level", "logger", "event", "partition"]
    assert own["event"] == "task restored"
    assert own["partition"] == 3
    assert list(theirs) == ["timestamp", "level", "logger", "event"]
    assert theirs["event"] == "[^--Consumer]: joined\nthe group"
    assert (theirs["level"], theirs["logger"]) == ("warning", library)
    assert theirs["timestamp"].endswith("Z")


def test_an_exception_is_a_field_of_its_line(json_lines):
    try:
        int("why")
    except ValueError:
        structlog.get_logger("k2_streams.one").exception("sink failed", partition=1)
        logging.getLogger("aiokafka").exception("crashed")
    ours, theirs = json_lines()
    for line in (ours, theirs):
        assert list(line)[-1] == "exception"
        assert line["exception"].splitlines()[-1].startswith("ValueError: ")


@pytest.mark.parametrize(
    ("found", "written"),
    [
        (np.int64(5), 5),
        (ValueError("x"), "ValueError('x')"),
        (float("nan"), None),
        (2**70, str(2**70)),
        ("\ud800", "'\\ud800'"),
    ],
)
def test_a_value_that_json_has_not_does_not_lose_its_line(json_lines, found, written):
    structlog.get_logger("k2_streams.one").warning("task restored", found=found)
    [line] = json_lines()
    assert line["found"] in (written, found)
    assert "task restored" in line["event"]


def test_fields_of_events_have_other_names_than_the_shape():
    """A field `level` of an event would be overwritten by the line's level."""
    calls = [
        (path.name, node.lineno, keyword.arg)
        for path in (ROOT / "k2_streams").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr in LEVELS and ast.unparse(node.func.value) in {"log", "_log"}
        for keyword in node.keywords
    ]
    assert len(calls) > 50
    assert [call for call in calls if call[2] in RESERVED_FIELDS] == []


def test_the_format_is_a_setting():
    assert from_environment({}).log_format == "console"
    assert from_environment({"K2_LOG_FORMAT": "json"}).log_format == "json"
    with pytest.raises(SettingsError, match="K2_LOG_FORMAT"):
        from_environment({"K2_LOG_FORMAT": "xml"})


async def test_a_query_in_a_thread_logs_the_id_of_its_request(json_lines):
    """Two at a time, so that a thread serves one request after the other."""
    engine = Engine(EngineConfig())
    log = structlog.get_logger("k2_streams.query")
    threads = set()

    def work(_session):
        threads.add(threading.get_ident())
        log.warning("query planned")
        logging.getLogger("duckdb").info("a library in the same thread")

    async def ask(number):
        with structlog.contextvars.bound_contextvars(correlation_id=f"request-{number}"):
            await engine.run(work)

    try:
        for pair in range(4):
            await asyncio.gather(ask(2 * pair), ask(2 * pair + 1))
    finally:
        engine.close()
    found = [line["correlation_id"] for line in json_lines()]
    assert sorted(found) == sorted(2 * [f"request-{number}" for number in range(8)])
    assert threading.get_ident() not in threads


def test_an_id_does_not_stay_in_a_thread(json_lines):
    bound = structlog.contextvars.bound_contextvars(correlation_id="request-1")
    with ThreadPoolExecutor(1) as pool, bound:
        pool.submit(structlog.get_logger("k2_streams.one").warning, "task restored").result()
    [line] = json_lines()
    assert "correlation_id" not in line
