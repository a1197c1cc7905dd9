"""What of a source's trades the platform lacks, by their ids: of feeds that have no numbers.

1. Ask: the ids of the trades that are selected are read from the source.
2. Take away those that the platform holds: what is left is lacking.
3. Choose: of the source's records, read once more, those are sent that bring nothing but lacking
   trades, each trade once.

A task knows an id for `K2_DEDUP_TTL_S`, the lake for as long as it has the row. So a recording of
any age can be sent, and doubles nothing.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import mmh3
import numpy as np
import pyarrow as pa

from k2_streams.core.ledger.repairs import NO_NUMBER, RepairedRange
from k2_streams.core.query.keys import Keys, keys_of
from k2_streams.core.sequence.scopes import own_scope
from k2_streams.core.sequence.sessions import DEFAULT_SESSION
from k2_streams.feeds.decoding.decoded import Kind
from k2_streams.feeds.description import Identity
from k2_streams.runtime.repair.decoding import decoded_portions
from k2_streams.runtime.repair.missing import GapSelection
from k2_streams.runtime.repair.sources import RepairRecord, RepairSourceError
from k2_streams.runtime.task.decoding import DecodedBatch, Decoding

#: Ids of a source that are asked for at most: of each some 100 bytes are kept.
MAX_IDS = 2_000_000
#: Two copies of a trade may differ in their event time, as those of two lines: rows so far from all
#: trades of the source are not looked at.
TIME_MARGIN_NS = 24 * 3_600 * 10**9
#: The columns by which a row is known.
HELD_COLUMNS = ("exchange", "symbol", "session", "trade_id")


class Owner(NamedTuple):
    """Whose trades are counted together."""

    exchange: str
    symbol: str
    session: str


class _IdentifiedTrade(NamedTuple):
    owner: Owner
    time_ns: int
    digest: bytes  # of what identifies it


class LackingTrades:
    """The trades of a source that the platform lacks.

    Args:
        decoding: of the feeds of the source's records.
        selection: of the trades, and how many are sent at most.
    """

    def __init__(self, decoding: Decoding, selection: GapSelection) -> None:
        self._decoding = decoding
        self._selection = selection
        self._lacking: dict[bytes, Owner] = {}
        self._symbols: set[tuple[str, str]] = set()
        self._span_ns: tuple[int, int] | None = None  # the first and the last event time
        self._sent: set[bytes] = set()
        #: By owner, trades of the records that were chosen.
        self.sent: Counter[Owner] = Counter()
        #: Trades of records that were left out since as many were sent as may be.
        self.left_out = 0

    def ask(self, records: Sequence[RepairRecord], now_ms: int) -> None:
        """Step 1, of some records, at least one.

        Raises:
            RepairSourceError: their ids are more than are kept.
        """
        for _, trades in self._identified(records, now_ms):
            for one in filter(self._is_selected, trades):
                self._lacking[one.digest] = one.owner
                self._symbols.add((one.owner.exchange, one.owner.symbol))
                first, last = self._span_ns or (one.time_ns, one.time_ns)
                self._span_ns = min(first, one.time_ns), max(last, one.time_ns)
        if len(self._lacking) > MAX_IDS:
            raise RepairSourceError(
                f"more than {MAX_IDS:,} trades of the source are asked for: name an exchange, a "
                "symbol or times (--exchange, --symbol, --since, --until)"
            )

    @property
    def is_nothing_asked(self) -> bool:
        """Whether the source had no trade that is selected and identified by its id."""
        return not self._symbols

    @property
    def keys(self) -> Keys:
        """Of what is asked for, in the columns of rows."""
        exchanges, symbols = zip(*sorted(self._symbols), strict=True) if self._symbols else ((), ())
        return keys_of(exchange=tuple(dict.fromkeys(exchanges)), symbol=tuple(sorted({*symbols})))

    @property
    def span_ns(self) -> tuple[int, int]:
        """Rows of the same trades have event times from the first to below the second."""
        first, last = self._span_ns or (0, 0)
        return first - TIME_MARGIN_NS, last + TIME_MARGIN_NS + 1

    def take_away(self, held: pa.Table) -> None:
        """Step 2, of some rows of the platform in `HELD_COLUMNS`."""
        for batch in held.filter(held.column("trade_id").is_valid()).to_batches():
            columns = (batch.column(name).to_pylist() for name in HELD_COLUMNS)
            for exchange, symbol, session, trade_id in zip(*columns, strict=True):
                # Which of the two is its feed's way, the row does not say.
                for of in ("", session):
                    self._lacking.pop(_digest(exchange, symbol, of, trade_id), None)

    def lacking(self) -> Counter[Owner]:
        """How many are, by owner."""
        return Counter(self._lacking.values())

    def of(self, records: Sequence[RepairRecord], now_ms: int) -> list[RepairRecord]:
        """Step 3, of some records, at least one: those that are to be sent.

        One that brings a trade that is there, too, is not: of an old one the task would not know.
        """
        chosen = []
        for record, trades in self._identified(records, now_ms):
            new = {one.digest: one.owner for one in trades}
            if not new or not all(map(self._is_wanted, new)):
                continue
            if len(self._sent) + len(new) > self._selection.max_numbers:
                self.left_out += len(new)
                continue
            chosen.append(record)
            self._sent |= new.keys()
            self.sent.update(new.values())
        return chosen

    def _is_wanted(self, digest: bytes) -> bool:
        return digest in self._lacking and digest not in self._sent

    def _is_selected(self, trade: _IdentifiedTrade) -> bool:
        wanted = self._selection
        return (
            wanted.exchange in {None, trade.owner.exchange}
            and wanted.symbol in {None, trade.owner.symbol}
            and (wanted.since_ns is None or trade.time_ns >= wanted.since_ns)
            and (wanted.until_ns is None or trade.time_ns < wanted.until_ns)
        )

    def _identified(
        self, records: Sequence[RepairRecord], now_ms: int
    ) -> Iterator[tuple[RepairRecord, list[_IdentifiedTrade]]]:
        """The records whose trades are all identified by their ids, with these."""
        for portion, batch in decoded_portions(self._decoding, records, now_ms):
            trades = _trades(batch)
            yield from ((portion[at], trades[at]) for at in sorted(trades))


def repaired_trades(
    asked: Counter[Owner],
    sent: Counter[Owner],
    left: Counter[Owner],
    about: Mapping[str, str],
) -> list[RepairedRange]:
    """What came of the trades of each owner that the platform lacked.

    Args:
        asked: how many it lacked.
        sent: how many were sent.
        left: how many it lacks now.
        about: `repair_id`, `started`, `by` and `source`.
    """
    return [
        RepairedRange(
            **about,
            scope=own_scope(one.exchange, one.symbol),
            session=one.session,
            first=NO_NUMBER,
            last=NO_NUMBER,
            asked=count,
            received=sent[one],
            filled=count - left[one],
            abandoned=0,
            still_missing=[],
        )
        for one, count in sorted(asked.items())
    ]


def _trades(batch: DecodedBatch) -> dict[int, list[_IdentifiedTrade]]:
    """By record its trades, of records without a number whose trades all have an id."""
    decoded, feeds = batch.decoded, batch.descriptions
    by_id = (decoded.kind == Kind.TRADE) & (decoded.sequence < 0)
    by_id[[entry.message for entry in batch.bad]] = False
    found: dict[int, list[_IdentifiedTrade]] = {int(at): [] for at in np.flatnonzero(by_id)}
    names = ("message", "exchange", "symbol", "exchange_time_ns", "trade_id", "ref_trade_id")
    for row in decoded.rows.select(names).to_pylist():
        at, trade_id = row["message"], row["trade_id"]
        identity = feeds[batch.feed[at]].identity
        session = int(decoded.session[at])
        owner = Owner(
            row["exchange"],
            row["symbol"],
            decoded.sessions[session] if session >= 0 else DEFAULT_SESSION,
        )
        # A correction that repeats the id of the trade it changes is not known by it.
        is_known = trade_id is not None and trade_id != row["ref_trade_id"]
        if identity not in {Identity.TRADE_ID, Identity.SEQUENCE_ELSE_ID} or not is_known:
            found.pop(at, None)
        elif at in found:
            of = owner.session if identity is Identity.SEQUENCE_ELSE_ID else ""
            digest = _digest(owner.exchange, owner.symbol, of, trade_id)
            found[at].append(_IdentifiedTrade(owner, row["exchange_time_ns"], digest))
    return found


def _digest(exchange: str, symbol: str, session: str, trade_id: str) -> bytes:
    """Of 10^12 trades two share one with p = 10^-15."""
    # A zero byte can stand in a trade id alone, which comes last.
    identity = f"{exchange}\0{symbol}\0{session}\0{trade_id}"
    return mmh3.mmh3_x64_128_digest(identity.encode())
