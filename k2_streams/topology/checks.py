"""What is checked of a declaration by itself: names, and functions that are to be called."""

import inspect
import re
from collections.abc import Iterable
from typing import Any

from k2_streams.topology.errors import TopologyError

NAME = re.compile(r"[a-z0-9_-]{1,64}")
#: Whose call returns before anything of the function has run.
_NOT_RUN_BY_A_CALL = (
    inspect.iscoroutinefunction,
    inspect.isasyncgenfunction,
    inspect.isgeneratorfunction,
)


def require_name(what: str, name: str) -> None:
    """Check the name of a declaration.

    Raises:
        TopologyError: topics, folders and paths could not have it.
    """
    if not NAME.fullmatch(name):
        raise TopologyError(f"{what} {name!r}: expected a name of 1 to 64 of a-z 0-9 _ -")


def require_function(what: str, function: Any, *arguments: str) -> None:
    """Check what is called for each batch, or timer.

    Raises:
        TopologyError: a call with these arguments would fail, or run nothing of its body: that of
            an `async def`, or with a `yield`, runs only when somebody waits for what it returns.
    """
    called = ", ".join(arguments)
    bodies = (function, inspect.getattr_static(function, "__call__", None))
    if any(is_kind(body) for body in bodies for is_kind in _NOT_RUN_BY_A_CALL):
        raise TopologyError(
            f"{what}: expected a plain function of ({called}), found one with `async def` or "
            "`yield`, of which a call runs nothing: it is given a batch, not a stream"
        )
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise TopologyError(f"{what}: expected a function of ({called}): {error}") from None
    except ValueError:  # one of C, which does not say what it takes
        return


def require_unique(what: str, names: Iterable[str]) -> None:
    """Check the names of declarations of a kind.

    Raises:
        TopologyError: two have the same.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise TopologyError(f"{what} {name}: declared twice: give each a name of its own")
        seen.add(name)
