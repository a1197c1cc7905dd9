"""The lake's snapshots, each with the token of exactly what it holds, and the tags of some."""

from k2_streams.lake.snapshots import SnapshotInfo
from k2_streams.query.answer import SnapshotRow
from k2_streams.query.engine import Engine
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.queried_log import QueriedLog
from k2_streams.query.request import SnapshotsRequest
from k2_streams.query.token import TagName, Token


async def list_snapshots(
    log: QueriedLog, engine: Engine, request: SnapshotsRequest
) -> list[SnapshotRow]:
    """The main branch's snapshots, newest first.

    Args:
        log: whose.
        engine: gives the turn.
        request: how many.

    Raises:
        BusyError: the queries before it take too long.
        LakeUnavailable: the catalog does not answer.
    """
    async with engine.turn(request.limit, request.limit, reads_lake=True):
        snapshots = await log.lake.snapshots()
    return [_row(info, log.tail.topic) for info in snapshots[::-1][: request.limit]]


async def tagged_token(log: QueriedLog, tag: TagName) -> Token:
    """Of what the snapshot of a tag holds.

    Raises:
        InvalidParameter: there is no such tag, or its snapshot does not say what it holds.
        LakeUnavailable: the catalog does not answer.
    """
    info = await log.lake.tagged(tag.name)
    if info is None:
        raise InvalidParameter("as_of", f"{log.stream.name} has no tag {tag.name!r}")
    token = _token(info, log.tail.topic)
    if token is None:
        raise InvalidParameter(
            "as_of", f"another engine made the snapshot of tag {tag.name!r}: read it there"
        )
    return token


def _token(info: SnapshotInfo, topic: str) -> Token | None:
    """Of exactly what a snapshot holds; None: it does not say so."""
    offsets = None if info.vector is None else info.vector.topics.get(topic)
    if offsets is None:
        return None
    at_ns = info.timestamp_ms * 1_000_000
    return Token(offsets.id, offsets.next, at_ns, sum(offsets.deferred.values()))


def _row(info: SnapshotInfo, topic: str) -> SnapshotRow:
    token = _token(info, topic)
    return SnapshotRow(
        id=info.id,
        parent=info.parent,
        timestamp_ms=info.timestamp_ms,
        operation=info.operation,
        rows_total=info.rows_total,
        rows_added=info.rows_added,
        files=info.files,
        offsets={} if token is None else token.next,
        commit_id=info.commit_id,
        token=None if token is None else token.encode(),
        refs=list(info.refs),
    )
