"""Clients that ask for what cannot be answered."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.runbooks.causes.rounds import again_and_again
from deploy.runbooks.scene import Scene

_QUESTIONS_PER_ROUND = 4


@contextmanager
def unanswerable(scene: Scene) -> Iterator[None]:
    """A client asks for rows that are not there yet, again and again."""

    def once(_number: int) -> None:
        for _ in range(_QUESTIONS_PER_ROUND):
            with contextlib.suppress(OSError):
                scene.worker.get("/v1/trades?min_offsets=0:999999999&wait_ms=0")

    with again_and_again(once):
        yield
