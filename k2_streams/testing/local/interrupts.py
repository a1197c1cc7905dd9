"""How long commands meet Ctrl-C, SIGTERM and a closed terminal. In the main thread alone."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

_Handler = Callable[[int, FrameType | None], object] | signal.Handlers


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does; an ignored SIGHUP (nohup) stays so."""
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    with _handled(numbers, signal.default_int_handler):
        yield


@contextlib.contextmanager
def uninterruptible() -> Iterator[None]:
    """A second Ctrl-C does not leave half of it running: the stop has an end of its own."""
    with _handled([signal.SIGINT, signal.SIGTERM, signal.SIGHUP], signal.SIG_IGN):
        yield


@contextlib.contextmanager
def _handled(numbers: Sequence[signal.Signals], handler: _Handler) -> Iterator[None]:
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, earlier in zip(numbers, before, strict=True):
            signal.signal(number, earlier)
