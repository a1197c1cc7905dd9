"""What the stories have in common: chapters, a verdict, and an end in order whenever it comes."""

import contextlib
import signal
import types
from collections.abc import Iterator
from typing import NoReturn

from rich.console import Console

EXIT_DIFFERENT = 1
#: What a shell says of a command that a signal ended: this and the signal's number.
EXIT_SIGNALLED = 128

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asks for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


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
    """From here on everything is being stopped already."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def chapter(console: Console, number: int, title: str) -> None:
    """A heading."""
    console.print()
    console.rule(f"[bold]{number}  {title}[/]", align="left")


def verdict(agreed: bool, seconds: float) -> str:
    """The last line."""
    text = (
        "[bold green]Every number agrees with the truth.[/]"
        if agreed
        else "[bold red]Not every number agrees with the truth.[/]"
    )
    return f"\n{text}  ({seconds:.0f} s)"
