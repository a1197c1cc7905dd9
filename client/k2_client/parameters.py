"""Options as parameters of a query string."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, TypeAlias

from k2_client.options import SqlOptions
from k2_client.result import Result

Parameters: TypeAlias = tuple[tuple[str, str], ...]
#: Options that are the client's own.
_OWN = ("columns", "prices", "limit", "where")


def statement_parameters(params: Mapping[str, object] | None, options: SqlOptions) -> Parameters:
    """Those of a statement: the values of its own, and its options."""
    named = {f"p.{name}": value for name, value in (params or {}).items()}
    return (*parameters_of(named), *parameters_of(options))


def parameters_of(options: Mapping[str, Any]) -> Parameters:
    """Options as parameters of a query string."""
    return tuple(
        (name, text)
        for name, value in options.items()
        if name not in _OWN
        for text in _texts(name, value)
    )


def _texts(name: str, value: Any) -> Iterator[str]:
    match value:
        case None:
            return
        case bool():
            yield str(value).lower()
        case date():
            yield value.isoformat()
        case Result():
            if value.token is None:
                raise ValueError(f"{name}: the result has no token")
            yield value.token
        case Mapping():
            yield ",".join(f"{partition}:{offset}" for partition, offset in value.items())
        case Sequence() if not isinstance(value, str):
            yield from map(str, value)
        case _:
            yield str(value)
