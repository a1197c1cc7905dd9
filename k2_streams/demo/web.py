"""Questions of the demo that must be answered: "later" is asked again, anything else ends it."""

import time
import urllib.error
from typing import Any

from k2_streams.testing.local.workers import LocalWorker

#: A node says "later" while it loads a snapshot: a moment, on a busy machine a few.
ANSWER_WITHIN_S = 30.0
_RETRY_EVERY_S = 0.3
_LATER = {429, 503}


class DemoError(Exception):
    """The story cannot go on; the text says why."""


def answered(worker: LocalWorker, path: str) -> Any:
    """The JSON at a path.

    Raises:
        DemoError: it was refused, or put off for too long.
        OSError: nobody answers.
    """
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while True:
        try:
            return worker.get(path)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode(errors="replace")
            if error.code not in _LATER or time.monotonic() > deadline:
                raise DemoError(f"{path} was answered with {error.code}: {said}") from error
        time.sleep(_RETRY_EVERY_S)
