"""A worker that is killed, has too little memory, fails on records or does not wait for numbers."""

from collections.abc import Iterator
from contextlib import contextmanager

from deploy.runbooks.causes.feeds import load, sending, with_holes
from deploy.runbooks.scene import Scene

#: The least that a worker takes, and less than one needs that does nothing.
_TOO_LITTLE_BYTES = 256 << 20
_SHORT_HORIZON_S = 5
#: Behind the newest record of each partition when the records come that raise an exception.
_FAILING_BEHIND = (5, 10, 15)


@contextmanager
def killed(scene: Scene) -> Iterator[None]:
    """Kill -9, as the kernel does where memory ends."""
    scene.worker.kill()
    yield
    scene.stage.start(0).wait_ready()


@contextmanager
def too_little_memory(scene: Scene) -> Iterator[None]:
    """It holds its source at once, and is not ready."""
    scene.worker.stop()
    scene.stage.start(0, K2_MEMORY_LIMIT_BYTES=str(_TOO_LITTLE_BYTES))
    yield
    scene.restart()


@contextmanager
def failing_records(scene: Scene) -> Iterator[None]:
    """Each of these records ends its task twice, and is a dead letter at the third time."""
    partitions = scene.worker.get("/v1/status")["partitions"]
    plan = ";".join(
        f"source.rows=raise-on:{partition}/{(one['next_offset'] or 0) + behind}"
        for partition, one in partitions.items()
        for behind in _FAILING_BEHIND
    )
    scene.restart(K2_FAILPOINTS=plan)
    load(scene)
    yield
    scene.restart()


@contextmanager
def horizon_too_short(scene: Scene) -> Iterator[None]:
    """What is missing is expected for seconds alone."""
    scene.restart(K2_LATE_HORIZON_S=str(_SHORT_HORIZON_S))
    with sending(with_holes)(scene):
        yield
    scene.restart()
