"""Parameters made of a stream's key: one per column, so that rows can be selected by it."""

from typing import Annotated, Any, TypeVar, cast

import msgspec
import pyarrow as pa

from k2_streams.core.records.stream import Stream
from k2_streams.web.declaration.endpoint import EndpointError

#: Key columns whose parameters have rules of their own (`shared_parameters`).
STANDARD = ("symbol", "exchange")
#: Values of one column: as many as symbols.
MAX_VALUES = 50
MAX_VALUE_CHARS = 256
_INTEGERS = {pa.int32(): 2**31, pa.int64(): 2**63}


_Parameters = TypeVar("_Parameters", bound=msgspec.Struct)


def with_key(base: type[_Parameters], stream: Stream) -> type[_Parameters]:
    """The parameters of `base`, and one for each column of the stream's key that it lacks.

    Raises:
        EndpointError: a column of the key has the name of another parameter, or a standard one
            another type than text.
    """
    added = []
    for name in stream.key:
        kind = stream.table_schema.field(name).type
        if name not in STANDARD and name in base.__struct_fields__:
            raise EndpointError(
                f"output {stream.name}: key column {name!r} has the name of a parameter of "
                f"/v1/{stream.name}: rename the column"
            )
        if name in STANDARD and kind != pa.string():
            raise EndpointError(
                f"output {stream.name}: key column {name!r} is {kind}: expected text, or another "
                "name for the column"
            )
        if name not in STANDARD:
            added.append((name, _values(name, kind), ()))
    if not added:
        return base
    title = f"{base.__name__}Of{stream.name.title().replace('-', '').replace('_', '')}"
    made = msgspec.defstruct(title, added, bases=(base,), frozen=True, kw_only=True)
    return cast("type[_Parameters]", made)


def key_names(parameters: type[msgspec.Struct], base: type[msgspec.Struct]) -> tuple[str, ...]:
    """The parameters that `with_key` added."""
    return tuple(
        name for name in parameters.__struct_fields__ if name not in base.__struct_fields__
    )


def _values(name: str, kind: pa.DataType) -> Any:
    bound = _INTEGERS.get(kind)
    one: Any = (
        Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_VALUE_CHARS)]
        if bound is None
        else Annotated[int, msgspec.Meta(ge=-bound, le=bound - 1)]
    )
    description = f"Values of the key column `{name}`. May be repeated. None: all."
    meta = msgspec.Meta(min_length=1, max_length=MAX_VALUES, description=description)
    return Annotated[tuple[one, ...], meta]
