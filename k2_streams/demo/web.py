"""Questions of the demo: asked again where the node is busy; a refusal ends the demo."""

from typing import Any

from k2_client import connect
from k2_streams.testing.local.workers import LocalWorker


class DemoError(Exception):
    """The story cannot go on; the text says why."""


def answered(worker: LocalWorker, path: str) -> Any:
    """The JSON at a path.

    Raises:
        ClientError: it was refused, or nobody answered in time.
    """
    with connect(worker.url) as client:
        return client.json(path)
