"""Tables of one line per row: nothing is wrapped, nothing is cut, `grep` and `less -S` work."""

from collections.abc import Iterable, Iterator, Sequence

#: A column is not wider than this for all rows, however long the text of one row is.
_WIDEST = 40


def lines_of(names: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The names, then a line per row, columns below each other."""
    table = [list(names), *map(list, rows)]
    widths = [min(max(map(len, column)), _WIDEST) for column in zip(*table, strict=True)]
    for row in table:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def printable(text: str) -> str:
    """Text whose control characters do nothing to a terminal."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )
