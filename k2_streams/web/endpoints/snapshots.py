"""`GET /v1/snapshots`: snapshots of the lake, the newest first."""

from typing import Annotated, Any

import msgspec

from k2_streams.core.records.stream import Stream
from k2_streams.query.answer import SnapshotRow, about
from k2_streams.query.request import SnapshotsRequest
from k2_streams.web.declaration.endpoint import Call, Endpoint, Rows, TableAnswer
from k2_streams.web.declaration.shared_parameters import MAX_LISTED
from k2_streams.web.http.errors import LAKE_UNAVAILABLE
from k2_streams.web.http.tables import table_of


class SnapshotsParameters(msgspec.Struct, frozen=True, kw_only=True):
    """How many snapshots."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LISTED, description="Snapshots at most.")] = 100


class SnapshotsMeta(msgspec.Struct, frozen=True):
    """How many snapshots are listed."""

    snapshots: Annotated[int, about("How many are listed.")]


async def _snapshots(call: Call[SnapshotsParameters]) -> Rows:
    found = await call.services.query.snapshots(SnapshotsRequest(limit=call.parameters.limit))
    return Rows(table_of(found, SnapshotRow), SnapshotsMeta(len(found)))


def endpoints(_streams: tuple[Stream, ...]) -> list[Endpoint[Any]]:
    """The endpoint."""
    return [
        Endpoint(
            path="/v1/snapshots",
            summary="Snapshots of the lake's main branch, the newest first.",
            handler=_snapshots,
            parameters=SnapshotsParameters,
            answer=TableAnswer("SnapshotRow", SnapshotRow, SnapshotsMeta),
            errors=(LAKE_UNAVAILABLE,),
        )
    ]
