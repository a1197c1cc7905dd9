"""Questions of the demo: asked again where the node is busy; any other refusal ends the demo."""

import time
from typing import Any

from k2_streams.testing.client import StatusError
from k2_streams.testing.local.workers import LocalWorker

#: A node answers 503 while it loads a snapshot: for moments, on a busy machine for seconds.
ANSWER_TIMEOUT_S = 30.0
_RETRY_INTERVAL_S = 0.3
_RETRYABLE = {429, 503}


class DemoError(Exception):
    """The story cannot go on; the text says why."""


def answered(worker: LocalWorker, path: str) -> Any:
    """The JSON at a path.

    Raises:
        DemoError: it was refused, or the node was busy for too long.
        OSError: nobody answers.
    """
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while True:
        try:
            return worker.get(path)
        except StatusError as error:
            if error.status not in _RETRYABLE or time.monotonic() > deadline:
                raise DemoError(str(error)) from error
        time.sleep(_RETRY_INTERVAL_S)
