"""Trades told apart by their id: which rows of a batch are repeats."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from k2_streams.core.dedup import hashes_of, step_batch
from k2_streams.core.duplicates import DuplicateCounter
from k2_streams.core.sequence import Verdict
from k2_streams.feeds.description import Identity
from k2_streams.feeds.feed import Decoded, Feed
from k2_streams.state.ids import IdTable

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of a batch's records; arrays have one entry each."""

    kind: npt.NDArray[np.int8]  # a `Kind`
    verdicts: npt.NDArray[np.int8]  # -1: not judged
    sessions: npt.NDArray[np.int32]  # index into `names`
    names: list[str]
    now_ms: npt.NDArray[np.int64]  # the partition's time at each


class RowIds:
    """Asks the partition's ids, as a feed's description says."""

    def __init__(self, ids: IdTable) -> None:
        self._ids = ids

    def repeated(
        self,
        decoder: Feed,
        decoded: Decoded,
        judged: Judged,
        by_id: Bools,
        duplicates: DuplicateCounter,
    ) -> Bools:
        """Of each row, whether it was seen before; asked of those that `told_by_id` and accepted.

        An id is one of its scope and symbol; of its session too, where the feed's trades have a
        number or an id, as the row's `message_id` has it.
        """
        repeated = np.zeros(len(by_id), dtype=bool)
        at = np.flatnonzero(by_id)
        if not len(at):
            return repeated
        message = decoded.rows.column("message").to_numpy()
        trade_ids = decoded.rows.column("trade_id")
        message, names, sessions = message[at], judged.names, judged.sessions
        symbols = decoded.rows.column("symbol")
        symbol = symbols.indices.to_numpy(zero_copy_only=False)[at].astype(np.int64)
        shape = (len(decoded.scopes), len(names), len(symbols.dictionary))
        of = np.ravel_multi_index((decoded.scope[message], sessions[message], symbol), shape)
        whose, within = np.unique(of, return_inverse=True)
        owners = [
            (decoded.scopes[scope], names[session], symbols.dictionary[number].as_py())
            for scope, session, number in zip(
                *(index.tolist() for index in np.unravel_index(whose, shape)), strict=True
            )
        ]
        by_session = decoder.description.identity is Identity.SEQUENCE_ELSE_ID
        # A zero byte can stand in a trade id alone, which comes last.
        prefixes = pa.array(
            [
                f"{scope}\0{name}\0{session if by_session else ''}\0"
                for scope, session, name in owners
            ],
            pa.string(),
        )
        identities = pc.binary_join_element_wise(
            prefixes.take(pa.array(within)), trade_ids.take(pa.array(at)), ""
        )
        hashes = hashes_of(identities.cast(pa.binary()).to_numpy(zero_copy_only=False))
        found = step_batch(self._ids, self._ids.window, hashes, judged.now_ms[message])
        counts = np.bincount(within[found], minlength=len(owners)).tolist()
        for (scope, session, _), count in zip(owners, counts, strict=True):
            if count:
                duplicates.add_ids(scope, session, count)
        repeated[at[found]] = True
        return repeated


def told_by_id(decoder: Feed, verdicts: npt.NDArray[np.int8]) -> Bools:
    """Of each message, whether the feed's description says that ids tell its trades apart."""
    match decoder.description.identity:
        case Identity.TRADE_ID:
            return np.ones(len(verdicts), np.bool_)
        case Identity.SEQUENCE_ELSE_ID:
            unnumbered: Bools = verdicts == Verdict.UNSEQUENCED
            return unnumbered
        case _:
            return np.zeros(len(verdicts), np.bool_)


def rows_told_by_id(decoder: Feed, decoded: Decoded, verdicts: npt.NDArray[np.int8]) -> Bools:
    """Of each row, whether it has an id that tells it apart."""
    by_id: Bools = told_by_id(decoder, verdicts)[decoded.rows.column("message").to_numpy()]
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
    """Of each message, how many of its rows are among these."""
    message = decoded.rows.column("message").to_numpy()[rows]
    return np.bincount(message, minlength=len(decoded.scope))
