"""What the stories share: a stage of their own, chapters, the last line, and an end in order."""

import contextlib
import shutil
import signal
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from k2_streams.runtime.settings.environment import forget_settings
from k2_streams.testing.local.installed import kafka_jars
from k2_streams.testing.local.stage import Stage

#: Shorter than the default of 10 s: rows move from the tail to the lake while one watches.
LAKE_COMMIT_INTERVAL_S = 2

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asks for the end; `number` is its number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def own_stage() -> Iterator[Stage]:
    """A stage in a new directory, which is removed at the end unless the stage is kept.

    The caller's settings are removed from this process's environment first: a demo must touch
    neither the caller's Kafka nor the caller's lake.
    """
    jars = kafka_jars()
    forget_settings()
    directory = Path(tempfile.mkdtemp(prefix="k2-demo-"))
    stage = None
    try:
        settings = {"K2_LAKE_COMMIT_INTERVAL_S": str(LAKE_COMMIT_INTERVAL_S)}
        with Stage(directory, settings, detached=True, jars=jars) as stage:
            yield stage
    finally:
        if stage is None or not stage.kept:
            shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C and the like end the story in order: once, so that the order is kept."""

    def stop(number: int, _frame: types.FrameType | None) -> NoReturn:
        ignore_signals()
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_signals() -> None:
    """Everything is being stopped already."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def chapter(console: Console, number: int, title: str) -> None:
    """A heading."""
    console.print()
    console.rule(f"[bold]{number}  {title}[/]", align="left")


def last_line(agreed: bool, seconds: float) -> str:
    """Whether the numbers agree, and how long it took."""
    text = (
        "[bold green]Every number agrees with the truth.[/]"
        if agreed
        else "[bold red]Not every number agrees with the truth.[/]"
    )
    return f"\n{text}  ({seconds:.0f} s)"
