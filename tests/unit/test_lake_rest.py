"""A REST catalog that takes a request and never answers is unavailable, not waited for."""

import socket
from collections.abc import Iterator

import pytest

from k2_streams.lake import rest
from k2_streams.lake.catalog import open_catalog
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.errors import LakeConfigError, LakeUnavailableError


@pytest.fixture
def silent() -> Iterator[str]:
    """A service that accepts connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_an_answer_that_does_not_come_is_an_error(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a bound this test would never end."""
    monkeypatch.setattr(rest, "ANSWER_WITHIN_S", 0.2)
    with pytest.raises(LakeUnavailableError, match=r"[Tt]imed out"):
        open_catalog(LakeConfig(silent, "warehouse"))


@pytest.mark.parametrize(
    "properties", [{"auth": {"basic": {}}}, {"auth": {"type": "custom"}}, {"auth": {"type": "x"}}]
)
def test_properties_that_pyiceberg_cannot_use_are_a_wrong_setting(
    silent: str, properties: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ValueErrors were tracebacks."""
    monkeypatch.setattr(rest, "ANSWER_WITHIN_S", 0.2)
    with pytest.raises(LakeConfigError, match=r"K2_CATALOG_\*: pyiceberg cannot use"):
        open_catalog(LakeConfig(silent, "warehouse", properties))
