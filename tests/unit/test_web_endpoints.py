"""The folder of endpoints is the contract: a file there is a path and its description."""

import importlib
from pathlib import Path

import pytest

from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.records.stream import QUOTES, TRADES
from k2_streams.core.sketches.measures import SKETCHES_STREAM
from k2_streams.web import endpoints
from k2_streams.web.endpoints import declared
from k2_streams.web.http.errors import KINDS
from k2_streams.web.openapi import document, errors_of

ADDED = '''"""A file that is added to the folder."""

from k2_streams.web.declaration.endpoint import Endpoint, JsonAnswer, NoParameters


async def answer(_call):
    return {"added": True}


def endpoints(streams):
    return [
        Endpoint(
            path="PATH",
            summary=f"Added beside {streams[0].name}.",
            handler=answer,
            parameters=NoParameters,
            answer=JsonAnswer({"type": "object"}),
        )
    ]
'''


@pytest.fixture
def added(tmp_path, monkeypatch):
    """Adds a file to the folder of endpoints, as far as Python's imports see it."""

    def add(path):
        (tmp_path / "added_endpoint.py").write_text(ADDED.replace("PATH", path))
        monkeypatch.setattr(endpoints, "__path__", [*endpoints.__path__, str(tmp_path)])
        monkeypatch.delitem(
            importlib.sys.modules, f"{endpoints.__name__}.added_endpoint", raising=False
        )

    return add


def test_the_paths_are_those_of_the_contract():
    assert [endpoint.path for endpoint in declared((TRADES,))] == [
        "/v1/bars",
        "/v1/gaps",
        "/v1/lines",
        "/v1/openapi.json",
        "/v1/snapshots",
        "/v1/sql",
        "/v1/status",
        "/v1/symbols",
        "/v1/trades",
        "/v1/trades/stream",
        "/",
        "/health/live",
        "/health/ready",
        "/metrics",
    ]


def test_what_needs_no_key_says_nothing_about_the_data():
    public = {endpoint.path for endpoint in declared((TRADES,)) if endpoint.is_public}
    assert public == {"/", "/v1/openapi.json", "/health/live", "/health/ready"}


def test_one_file_is_an_endpoint_and_its_description(added):
    added("/v1/added")
    found = {endpoint.path: endpoint for endpoint in declared((TRADES, QUOTES))}
    assert found["/v1/added"].summary == "Added beside trades."
    assert "/v1/added" in document(found.values(), keyed=True)["paths"]


def test_two_files_with_one_path_are_refused(added):
    added("/v1/gaps")
    with pytest.raises(ValueError, match="same path"):
        declared((TRADES,))


def test_each_file_of_the_folder_declares_an_endpoint():
    (folder,) = endpoints.__path__
    files = {path.stem for path in Path(folder).glob("*.py")} - {"__init__"}
    modules = {
        endpoint.handler.__module__.rpartition(".")[2]
        for endpoint in declared((TRADES, QUOTES, *TRADES_INPUT.ledger, SKETCHES_STREAM))
    }
    assert modules == files


def test_every_kind_of_error_has_a_code_of_its_own_and_a_meaning():
    assert len({kind.code for kind in KINDS}) == len(KINDS) > 20
    assert all(kind.meaning for kind in KINDS)


def test_every_kind_of_error_is_one_of_some_endpoint():
    kinds = {
        kind
        for endpoint in declared((TRADES, QUOTES))
        for keyed in (True, False)
        for kind in errors_of(endpoint, keyed=keyed)
    }
    assert {kind.code for kind in KINDS} - {kind.code for kind in kinds} == {"not_found"}
