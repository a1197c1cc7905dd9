"""The OpenAPI document is true: schemathesis asks a served node what the document allows.

It also asks what the document forbids; nothing may answer otherwise than the document says.
"""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from lake_rows import NOON_NS
from openapi_cases import breaks_a_rule_between, register_formats
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from web_node import served
from web_support import application

from k2_streams.core.records.stream import TRADES
from k2_streams.query.token import Token
from k2_streams.web.endpoints import declared
from k2_streams.web.http.formats import encode_json
from k2_streams.web.openapi import document

KEY = "k-schemathesis"
NO_LIMIT_PER_S = 1e9
REQUEST_SETTINGS = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


register_formats(
    st.dictionaries(st.integers(0, 1), st.integers(0, 6), min_size=2).map(
        lambda offsets: Token("topic-1", offsets, NOON_NS, 0).encode()
    ),
    around_ns=NOON_NS,
)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    """The address of a server that asks for a key."""

    def make(query):
        return application(query, keys=(KEY,), rate_limit_per_s=NO_LIMIT_PER_S)

    with served(tmp_path_factory.mktemp("keyed"), make) as address:
        yield address


@pytest.fixture(scope="module")
def described():
    """The document; as a fixture, so that cases are made where they are tried, not to be listed."""
    return schemathesis.openapi.from_dict(
        json.loads(encode_json(document(declared((TRADES,)), keyed=True)))
    )


@pytest.fixture(autouse=True)
def node_id(request):
    """A private name of pytest's that schemathesis 4.32 reads, and pytest 9.2 no longer has."""
    request.node._nodeid = request.node.nodeid


def test_the_document_is_served(keyed, described):
    assert requests.get(f"{keyed}/v1/openapi.json", timeout=10).json() == described.raw_schema


# A stream's answer need not end: `test_web_stream` has its own.
@schemathesis.pytest.from_fixture("described").exclude(path_regex="/stream$").parametrize()
@REQUEST_SETTINGS
@pytest.mark.slow
def test_the_document_is_true(keyed, case):
    def refuses_by_name(_context, response, _case):
        """A 422 names a parameter that was sent."""
        if response.status_code == 422:
            sent = parse_qs(urlsplit(response.request.url).query, keep_blank_values=True)
            required = {one.name for one in case.operation.query if one.is_required}
            lacks_bound = {"start"} if "interval" in sent and "window" not in sent else set()
            body = {"query"} if response.request.method == "POST" else set()
            assert response.json()["error"]["field"] in {*sent, *required, *lacks_bound, *body}

    query = dict(case.query or {})
    mode = case.meta.generation.mode if case.meta else None
    excluded = []
    is_free = case.path == "/v1/sql"  # any text is a body, few are a statement
    if mode is GenerationMode.POSITIVE and (is_free or breaks_a_rule_between(query)):
        excluded = [positive_data_acceptance]
    if "known_at" in query:  # this node's rows are not read on: a later time is not known yet
        excluded.append(not_a_server_error)
    case.call_and_validate(
        base_url=keyed,
        headers={"X-API-Key": KEY},
        additional_checks=[refuses_by_name],
        excluded_checks=excluded,
    )
