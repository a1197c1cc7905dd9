"""Trades that their id identifies: which rows of a batch are repeats."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.dedup.bloom import Bools, Hashes
from k2_streams.core.dedup.duplicates import DuplicateCounter
from k2_streams.core.dedup.ids import HASH_BYTES, KnownIds, Window, hashes_of, step_batch, to_bytes
from k2_streams.core.sequence.step import Verdict
from k2_streams.feeds.description import Description, Identity
from k2_streams.feeds.feed import Decoded
from k2_streams.state.ids import IdTable
from k2_streams.topology.errors import StateReadError


@dataclass(frozen=True, slots=True)
class Sequenced:
    """What the sequencer found of a batch's records; arrays have one entry each."""

    kind: npt.NDArray[np.int8]  # a `Kind`
    verdicts: npt.NDArray[np.int8]  # -1: none
    sessions: npt.NDArray[np.int32]  # index into `names`
    names: list[str]
    now_ms: npt.NDArray[np.int64]  # stream time at each
    feed: npt.NDArray[np.int16]  # index into `descriptions`
    descriptions: list[Description]


class NewIds:
    """`core.dedup.ids.KnownIds` over a partition's ids that adds nothing to them before `take`.

    What has become too old is dropped at once: a record moves stream time whatever becomes of it.
    """

    def __init__(self, ids: IdTable) -> None:
        self._ids = ids
        self._added: list[tuple[int, Hashes]] = []

    def expire(self, bucket: int) -> None:
        """Stream time is now in this bucket."""
        self._ids.expire(bucket)
        live = self._ids.window.is_live
        self._added = [(end, hashes) for end, hashes in self._added if live(end, bucket)]

    def held(self, hashes: Hashes) -> Bools:
        """Of each id, whether it is remembered or was added.

        Raises:
            StateReadError: the store cannot be read.
        """
        try:
            found = self._ids.held(hashes)
        except Exception as error:
            raise StateReadError(f"ids: {error}") from error
        if self._added:  # a batch that goes over the end of a bucket
            added = {one for _, more in self._added for one in _split(more)}
            found |= np.array([one in added for one in _split(hashes)], np.bool_)
        return found

    def add(self, bucket: int, hashes: Hashes) -> None:
        """Remember ids, once they are taken."""
        if len(hashes):
            self._added.append((bucket, hashes))

    def take(self) -> None:
        """Add what was added to the partition's ids."""
        for bucket, hashes in self._added:
            self._ids.add(bucket, hashes)
        self._added = []


def repeated(
    known: KnownIds,
    window: Window,
    decoded: Decoded,
    sequenced: Sequenced,
    by_id: Bools,
    duplicates: DuplicateCounter,
) -> Bools:
    """Of each row, whether it was seen before; asked of those that are accepted and `have_ids`.

    An id is one of its scope and symbol; of its session too, where the feed's trades have a
    number or an id, as the row's `message_id` has it.

    Args:
        known: the ids seen before; new ones are added.
        window: how long they are remembered.
        decoded: the batch.
        sequenced: what the sequencer found of it.
        by_id: of each row, whether it is asked.
        duplicates: counts what is repeated.
    """
    found = np.zeros(len(by_id), dtype=bool)
    at = np.flatnonzero(by_id)
    if not len(at):
        return found
    message = decoded.rows.column("message").to_numpy()[at]
    scope, session = decoded.scope[message], sequenced.sessions[message]
    counts = _of_feeds(sequenced, {Identity.SEQUENCE_ELSE_ID})[message]
    rows = decoded.rows.take(pa.array(at))
    # A zero byte can stand in a trade id alone, which comes last.
    identities = pc.binary_join_element_wise(
        pa.array(decoded.scopes, pa.string()).take(pa.array(scope)),
        rows.column("symbol").cast(pa.string()),
        pa.array(["", *sequenced.names], pa.string()).take(pa.array((session + 1) * counts)),
        rows.column("trade_id"),
        "\0",
    )
    hashes = hashes_of(identities.cast(pa.binary()).to_numpy(zero_copy_only=False))
    repeats = step_batch(known, window, hashes, sequenced.now_ms[message])
    owners = zip(scope[repeats].tolist(), session[repeats].tolist(), strict=True)
    for (owner, of_session), count in Counter(owners).items():
        duplicates.add_ids(decoded.scopes[owner], sequenced.names[of_session], count)
    found[at[repeats]] = True
    return found


def are_by_id(sequenced: Sequenced) -> Bools:
    """Of each record, whether its feed's description says that ids identify its trades."""
    always = _of_feeds(sequenced, {Identity.TRADE_ID})
    unnumbered = sequenced.verdicts == Verdict.UNSEQUENCED
    found: Bools = always | (_of_feeds(sequenced, {Identity.SEQUENCE_ELSE_ID}) & unnumbered)
    return found


def have_ids(decoded: Decoded, sequenced: Sequenced) -> Bools:
    """Of each row, whether it has an id that identifies it."""
    by_id: Bools = are_by_id(sequenced)[decoded.rows.column("message").to_numpy()]
    if not by_id.any():
        return by_id
    trade_ids = decoded.rows.column("trade_id")
    if trade_ids.null_count:
        by_id = by_id & trade_ids.is_valid().to_numpy(zero_copy_only=False)
    references = decoded.rows.column("ref_trade_id")
    if references.null_count < len(references):
        # A correction that repeats the id of the trade it changes is no repeat of that trade.
        same = pc.equal(trade_ids, references).fill_null(fill_value=False)
        by_id = by_id & ~same.to_numpy(zero_copy_only=False)
    return by_id


def message_counts(decoded: Decoded, rows: Bools) -> npt.NDArray[np.int64]:
    """Of each record, how many of its rows are among these."""
    message = decoded.rows.column("message").to_numpy()[rows]
    return np.bincount(message, minlength=len(decoded.scope))


def _of_feeds(sequenced: Sequenced, identities: set[Identity]) -> Bools:
    """Of each record, whether its feed's trades are identified in one of these ways."""
    if not sequenced.descriptions:
        return np.zeros(len(sequenced.feed), np.bool_)
    of = np.array([one.identity in identities for one in sequenced.descriptions], np.bool_)
    found: Bools = of[sequenced.feed]
    return found


def _split(hashes: Hashes) -> list[bytes]:
    packed = to_bytes(hashes)
    return [packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES)]
