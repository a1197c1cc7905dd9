"""Decoded groups of one batch, each of another feed, as one `Decoded` in the batch's order.

So whatever comes behind the decoders sees the records as they came: the order within a scope, ids,
ticks and lines do not depend on how feeds are interleaved, nor does the cost.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_streams.feeds.decoding.decoded import Bad, Decoded, Kind


class Part(NamedTuple):
    """A group of a batch's records, decoded."""

    places: npt.NDArray[np.int64]  # in the batch, ascending
    decoded: Decoded


def merged(parts: Sequence[Part], count: int, rows: pa.Schema) -> Decoded:
    """The parts as one.

    Args:
        parts: no record is in two. One that is in none is BAD, without scope and sequence.
        count: records of the batch.
        rows: the schema of the stream's rows.
    """
    if len(parts) == 1 and len(parts[0].places) == count:
        return parts[0].decoded
    kind = np.full(count, Kind.BAD, np.int8)
    scope = np.full(count, -1, np.int32)
    sequence = np.full(count, -1, np.int64)
    session = np.full(count, -1, np.int32)
    event_time_ns = np.zeros(count, np.int64)
    scopes: dict[str, int] = {}
    sessions: dict[str, int] = {}
    bad: list[Bad] = []
    events: dict[int, str] = {}
    unknown: Counter[str] = Counter()
    for places, decoded in parts:
        kind[places] = decoded.kind
        scope[places] = _renumbered(decoded.scope, decoded.scopes, scopes)
        sequence[places] = decoded.sequence
        session[places] = _renumbered(decoded.session, decoded.sessions, sessions)
        event_time_ns[places] = decoded.event_time_ns
        bad += [found._replace(message=int(places[found.message])) for found in decoded.bad]
        events |= {int(places[message]): event for message, event in decoded.events.items()}
        unknown.update(decoded.unknown)
    return Decoded(
        kind=kind,
        scopes=list(scopes),
        scope=scope,
        sequence=sequence,
        sessions=list(sessions),
        session=session,
        event_time_ns=event_time_ns,
        rows=_in_order(parts, rows),
        bad=sorted(bad, key=lambda found: found.message),
        events=events,
        unknown=unknown,
    )


def _renumbered(
    index: npt.NDArray[np.int32], names: list[str], numbers: dict[str, int]
) -> npt.NDArray[np.int32]:
    """Indices into `names` as indices into all names; -1 stays."""
    of = [numbers.setdefault(name, len(numbers)) for name in names]
    renumbered: npt.NDArray[np.int32] = np.array([*of, -1], np.int32)[index]
    return renumbered


def _in_order(parts: Sequence[Part], schema: pa.Schema) -> pa.RecordBatch:
    """The rows of all parts by the places of their messages; those of one message as they were."""
    found = []
    for places, decoded in parts:
        if decoded.rows.num_rows:
            message = places[decoded.rows.column("message").to_numpy()].astype(np.int32)
            at = decoded.rows.schema.get_field_index("message")
            field = decoded.rows.schema.field(at)
            found.append(decoded.rows.set_column(at, field, pa.array(message)))
    if not found:
        return pa.RecordBatch.from_pylist([], schema=schema)
    if len(found) == 1:
        return found[0]
    together = pa.concat_batches(found)
    order = np.argsort(together.column("message").to_numpy(), kind="stable")
    return together.take(pa.array(order))
