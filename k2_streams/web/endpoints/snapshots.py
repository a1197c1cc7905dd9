"""`GET /v1/snapshots`: snapshots of a log's table in the lake, the newest first."""

from typing import Annotated, Any, Literal, cast

import msgspec

from k2_streams.core.records.stream import Stream
from k2_streams.core.records.struct_tables import table_of
from k2_streams.query.answer import SnapshotRow, SnapshotsMeta
from k2_streams.query.relations import relations_of
from k2_streams.query.request import SnapshotsRequest
from k2_streams.web.declaration.endpoint import Call, Endpoint, Rows
from k2_streams.web.declaration.shared_parameters import MAX_LISTED
from k2_streams.web.http.errors import LAKE_UNAVAILABLE


class SnapshotsParameters(msgspec.Struct, frozen=True, kw_only=True):
    """How many snapshots of which table."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LISTED, description="Snapshots at most.")] = 100
    stream: str = ""  # of a type that names the worker's streams: `parameters_of`


def parameters_of(streams: tuple[Stream, ...]) -> type[SnapshotsParameters]:
    """The parameters where these streams are served, of which the first is the default."""
    names = tuple(stream.name for stream in streams)
    described = msgspec.Meta(description="Whose table.")
    stream: Any = Annotated[Literal[names], described]
    made = msgspec.defstruct(
        "SnapshotsOfParameters",
        [("stream", stream, names[0])],
        bases=(SnapshotsParameters,),
        frozen=True,
        kw_only=True,
    )
    return cast("type[SnapshotsParameters]", made)


async def _snapshots(call: Call[SnapshotsParameters]) -> Rows:
    query = call.services.by_name[call.parameters.stream].query
    found = await query.snapshots(SnapshotsRequest(limit=call.parameters.limit))
    return Rows(table_of(found, SnapshotRow), SnapshotsMeta(len(found)))


def endpoints(streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint, where there is a table."""
    relation = relations_of(streams).get("snapshots")
    if relation is None:
        return []
    return [
        Endpoint.of(
            relation,
            _snapshots,
            parameters_of(streams),
            errors=(LAKE_UNAVAILABLE,),
        )
    ]
