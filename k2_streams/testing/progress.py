"""Progress on standard error: a bar on a terminal, one line per interval elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from k2_streams.clock import Clock

#: Between two lines where there is no terminal.
LINE_EVERY_S = 5.0
#: Between two updates of the bar: a person sees no more.
_DRAW_EVERY_S = 0.1


@contextmanager
def progress(
    console: Console,
    clock: Clock,
    title: str,
    total: int | None,
    unit: str,
    beside: Callable[[], str] = lambda: "",
) -> Iterator[Callable[[int], None]]:
    """Give a function that takes how much is done so far, as often as one likes.

    What `beside` says stands behind the bar.
    """
    began = clock.monotonic()
    shown = began

    def rate(done: int) -> str:
        elapsed = clock.monotonic() - began
        return f"{done / elapsed:,.0f} {unit}/s" if elapsed > 0 else ""

    if not console.is_terminal:

        def line(done: int) -> None:
            nonlocal shown
            if clock.monotonic() - shown >= LINE_EVERY_S:
                shown = clock.monotonic()
                of = f" of {total:,}" if total else ""
                console.print(f"{title}: {done:,}{of} {unit}, {rate(done)}", highlight=False)

        yield line
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[beside]}"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(title, total=total, rate="", beside="")

        def draw(done: int) -> None:
            nonlocal shown
            if clock.monotonic() - shown >= _DRAW_EVERY_S:
                shown = clock.monotonic()
                bars.update(task, completed=done, rate=rate(done), beside=beside())

        yield draw
