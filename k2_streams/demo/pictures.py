"""Small pictures for a terminal, of blocks and without colours too: bars, and a curve."""

import itertools
import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

_BAR = "█"
_STEPS = " ▁▂▃▄▅▆▇█"
BAR_WIDTH = 40
CURVE_WIDTH = 64


def bars(rows: Sequence[tuple[str, int, str]]) -> Table:
    """Names, numbers and styles as bars on a logarithmic scale: 5 must be seen beside 200,000."""
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    most = math.log1p(max((number for _, number, _ in rows), default=0)) or 1.0
    for name, number, style in rows:
        length = math.ceil(BAR_WIDTH * math.log1p(number) / most)
        table.add_row(name, f"{number:,}", Text(_BAR * length, style=style))
    return table


def curve(points: Sequence[tuple[float, float]], width: int = CURVE_WIDTH) -> str:
    """The slope of a growing count over time as one line of blocks; the highest slope is full.

    Args:
        points: (time, count), times rising.
        width: of the line, in characters.
    """
    rates = slopes(points, width)
    most = max(rates, default=0.0)
    if most <= 0:
        return ""
    last = len(_STEPS) - 1
    return "".join(_STEPS[math.ceil(last * rate / most)] for rate in rates)


def levels_line(points: Sequence[tuple[float, float]], width: int = CURVE_WIDTH) -> str:
    """What was highest in each of `width` equal parts of the time, as one line of blocks.

    A part in which nothing was seen shows what was so before.

    Args:
        points: (time, value of 0 or more), times rising.
        width: of the line, in characters.
    """
    if not points:
        return ""
    begin, end = points[0][0], points[-1][0]
    step = (end - begin) / width or 1.0
    parts: list[float | None] = [None] * width
    for time, value in points:
        place = min(int((time - begin) / step), width - 1)
        parts[place] = max(parts[place] or 0.0, value)
    most = max(value for _, value in points) or 1.0
    shown, last = "", len(_STEPS) - 1
    before = 0.0
    for part in parts:
        before = before if part is None else part
        shown += _STEPS[math.ceil(last * before / most)]
    return shown


def slopes(points: Sequence[tuple[float, float]], width: int) -> list[float]:
    """Growth a unit of time in each of `width` equal parts of the time."""
    if len(points) < 2 or points[-1][0] <= points[0][0]:
        return []
    begin, end = points[0][0], points[-1][0]
    step = (end - begin) / width
    counts = [_count_at(points, begin + step * part) for part in range(width + 1)]
    return [max(0.0, after - before) / step for before, after in itertools.pairwise(counts)]


def _count_at(points: Sequence[tuple[float, float]], time: float) -> float:
    """The count between the points around a time."""
    for (time_0, count_0), (time_1, count_1) in itertools.pairwise(points):
        if time_0 <= time <= time_1:
            share = (time - time_0) / (time_1 - time_0) if time_1 > time_0 else 1.0
            return count_0 + share * (count_1 - count_0)
    return points[-1][1]
