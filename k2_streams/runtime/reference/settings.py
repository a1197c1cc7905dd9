"""`docs/reference/settings.md`."""

from collections.abc import Iterator
from itertools import groupby

from k2_streams.runtime.settings.declare import Declaration, Group
from k2_streams.runtime.settings.groups import FAMILIES
from k2_streams.runtime.settings.worker import GROUPS, declared

_INTRODUCTION = """\
# Settings

K2 is configured by environment variables, which are read once at start. Any of them can be in a
file instead: `K2_KAFKA_SASL_PASSWORD_FILE=path` is read as `K2_KAFKA_SASL_PASSWORD`,
without white space at its ends. An empty value is no value.

A value that cannot be used, a name that begins with `K2_` and is not a setting, and settings that
cannot work together end the process, and every `k2` command, with exit code 2. Standard error has a
line for each, with the setting, the value (not that of a secret), what is expected and the remedy,
or the name that was probably meant:

    K2_PARTITIONS: expected a whole number from 1 to 1000, found '0': correct it, or remove it \
for the default (4)
"""
_COLUMNS = "| setting | default | values | what it is for |\n|---|---|---|---|\n"


def page() -> str:
    """The page: a table per group."""
    parts = [_INTRODUCTION]
    for heading, members in groupby(declared(), key=lambda one: one.heading):
        rows = [*map(_row, members), *_family_rows(heading)]
        parts.append(f"## {heading}\n\n{_about(heading)}\n\n{_COLUMNS}{''.join(rows)}")
    return "\n".join(parts)


def _row(one: Declaration) -> str:
    default = one.default_text
    if "`" not in default and " " not in default and default != "none":
        default = f"`{default}`"
    secret = " Secret: shown nowhere." if one.is_secret else ""
    return _line(f"`{one.variable}`", default, one.expected, f"{one.purpose}.{secret}")


def _family_rows(heading: str) -> Iterator[str]:
    for family in FAMILIES:
        if family.heading == heading:
            yield _line(f"`{family.prefix}*`", "none", "texts", f"{family.purpose}.")


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


def _about(heading: str) -> str:
    """What the group of this heading says of itself."""
    group = next(part for part in _groups(*GROUPS) if vars(part).get("heading") == heading)
    return " ".join((group.__doc__ or "").split())


def _groups(*groups: type[Group]) -> Iterator[type[Group]]:
    for group in groups:
        yield group
        yield from _groups(*(base for base in group.__bases__ if issubclass(base, Group)))
