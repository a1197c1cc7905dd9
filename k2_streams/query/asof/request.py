"""What trades are joined with, and what an answer says of it."""

from dataclasses import dataclass
from typing import Annotated

import msgspec
import pyarrow as pa

from k2_streams.core.query.asof.strategy import AsOfRule
from k2_streams.core.records.schema import DECIMAL
from k2_streams.core.records.stream import TRADES
from k2_streams.core.time_units import DAY_NS
from k2_streams.query.answer import Answer, Meta, ReadProof, about
from k2_streams.query.asof.statement import PRICES
from k2_streams.query.errors import InvalidParameter
from k2_streams.query.token import TagName, Token

#: A quote that is older says nothing of a trade, and all that may be one has to be read.
MAX_TOLERANCE_NS = 7 * DAY_NS
#: Of one answer; each reads the quotes of a range of its own.
MAX_MARKOUTS = 8
MAX_MARKOUT_NS = DAY_NS

#: What a join adds to a row.
QUOTE_COLUMNS = (
    *(pa.field(name, DECIMAL) for name in PRICES),
    pa.field("quote_time_ns", pa.int64()),
    pa.field("quote_age_ns", pa.int64()),  # below 0: the quote came after the trade
    *(pa.field(name, DECIMAL) for name in ("mid", "spread", "effective_spread")),
    pa.field("quote_complete", pa.bool_(), nullable=False),
    pa.field("markouts", pa.map_(pa.string(), DECIMAL), nullable=False),  # mids by their names
)  # fmt: skip

#: Of trades with their quotes.
TRADES_QUOTES = pa.schema([*TRADES.table_schema, *QUOTE_COLUMNS])


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The quotes of trades.

    Raises:
        InvalidParameter: a field is out of its bounds.
    """

    rule: AsOfRule = AsOfRule()
    #: Times after each trade at which the mid is wanted, by what they are called.
    markouts: tuple[tuple[str, int], ...] = ()
    as_of: Token | TagName | None = None  # of the quotes
    known_at_ns: int | None = None
    wait_ms: int = 0

    def __post_init__(self) -> None:
        """Check the bounds."""
        if not 0 <= self.rule.tolerance_ns <= MAX_TOLERANCE_NS:
            raise InvalidParameter("tolerance", "expected at most 7d")
        if len(self.markouts) > MAX_MARKOUTS or not all(
            0 < later_ns <= MAX_MARKOUT_NS for _, later_ns in self.markouts
        ):
            raise InvalidParameter("markouts", f"expected at most {MAX_MARKOUTS}, up to 1d each")


class QuotesMeta(ReadProof, frozen=True, kw_only=True):
    """The proof of the quotes that trades were joined with.

    A join `as_of` its token is one with the same quotes. It is complete if `quote_complete` is true
    in every row.
    """


class TradesQuotesMeta(Meta, frozen=True, kw_only=True):
    """The proof of trades, and of the quotes that they were joined with."""

    quotes: Annotated[QuotesMeta, about("The same of the quotes.")]


@dataclass(frozen=True, slots=True)
class Joined:
    """What a join adds to its rows, in their order, and the proof of it."""

    columns: pa.Table
    meta: QuotesMeta

    def beside(self, trades: Answer) -> tuple[pa.Table, TradesQuotesMeta]:
        """The trades that it was made of with what it adds, and the proof of both."""
        rows = pa.table([*trades.rows.columns, *self.columns.columns], schema=TRADES_QUOTES)
        meta = TradesQuotesMeta(**msgspec.structs.asdict(trades.meta), quotes=self.meta)
        return rows, meta
