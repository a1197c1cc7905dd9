"""Relations with arguments: what a statement names with texts in brackets, as `bars('1m')`.

Each is one relation per list of arguments, called as it is written: it is read, pruned and proven
as any other.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import msgspec

from k2_streams.core.query.asof.strategy import AsOfRule, Strategy
from k2_streams.core.query.bars.fold import Fill
from k2_streams.core.query.bars.interval import ALL, parse_interval
from k2_streams.core.records.stream import QUOTES, TRADES, Stream
from k2_streams.core.struct_types import prepare
from k2_streams.query.asof.request import TRADES_QUOTES, JoinRequest, TradesQuotesMeta
from k2_streams.query.bars.answer import BARS, BarsMeta
from k2_streams.query.bars.request import Align, BarsRequest, ConditionsUsed
from k2_streams.query.errors import InvalidParameter, QueryError
from k2_streams.query.relations import (
    Asked,
    Queries,
    Relation,
    RelationRows,
    rows_request,
    texts_of,
)
from k2_streams.query.request import RowsView
from k2_streams.query.time_texts import parse_window, parse_zone

#: Bars and joined trades of one read: each takes several times the memory of a row.
MAX_MADE_ROWS = 100_000


class BarsArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Texts of a `BarsRequest`; the interval is a length or a session."""

    interval: str
    fill: Fill = "none"
    align: Align = "utc"
    tz: str | None = None
    calendar: str | None = None
    conditions: ConditionsUsed | None = None
    view: RowsView = "corrected"


class QuotesArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Texts of a `JoinRequest`; `markouts` are separated by commas."""

    tolerance: str
    strategy: Strategy = "backward"
    allow_exact_matches: Literal["true", "false"] = "true"
    markouts: str | None = None


@dataclass(frozen=True, slots=True)
class RelationFunction:
    """A relation per list of arguments.

    Attributes:
        name: in FROM.
        arguments: a struct of texts; its first field may be given without its name.
        make: the relation of that name with such arguments; `ValueError` says what is wrong.
    """

    name: str
    arguments: type[msgspec.Struct]
    make: Callable[[str, "msgspec.Struct"], Relation]

    def __post_init__(self) -> None:
        """Have the arguments looked at."""
        prepare(self.arguments)

    def relation(self, first: Sequence[str], named: Mapping[str, str]) -> Relation:
        """The relation of these arguments.

        Args:
            first: those that were given without a name.
            named: the others.

        Raises:
            ValueError: they are not what is expected.
        """
        fields = self.arguments.__struct_fields__
        given = dict(zip(fields[:1], first, strict=False))
        if len(first) > len(given) or given.keys() & named.keys():
            raise ValueError(f"expected {self.usage}")
        try:
            arguments = msgspec.convert({**given, **named}, self.arguments)
        except msgspec.ValidationError as error:
            raise ValueError(f"expected {self.usage}: {error}") from error
        texts = [f"'{text}'" for text in first]
        texts += [f"{name} := '{text}'" for name, text in sorted(named.items())]
        return self.make(f"{self.name}({', '.join(texts)})", arguments)

    @property
    def usage(self) -> str:
        """How it is written."""
        first, *others = self.arguments.__struct_fields__
        return f"{self.name}({', '.join([f'{first!r}', *(f'{name} := ...' for name in others)])})"


def functions_of(streams: Iterable[Stream]) -> dict[str, RelationFunction]:
    """Every such relation of a worker that serves the logs of these streams, by name."""
    served = tuple(streams)
    found: list[RelationFunction] = []
    trades = next((stream for stream in served if stream.is_enriched), None)
    if trades is not None:
        found.append(RelationFunction("bars", BarsArguments, partial(_bars, trades)))
    if {TRADES, QUOTES} <= set(served):
        found.append(RelationFunction("asof_quotes", QuotesArguments, _asof_quotes))
    return {one.name: one for one in found}


def _bars(trades: Stream, name: str, arguments: msgspec.Struct) -> Relation:
    assert isinstance(arguments, BarsArguments)  # noqa: S101 - see `functions_of`
    given = arguments
    interval = parse_interval(given.interval)
    if interval == ALL:
        raise ValueError("expected a length or session, since all depends on the range")
    if given.tz is not None:
        parse_zone(given.tz)

    def request(asked: Asked) -> BarsRequest:
        return BarsRequest(
            symbols=texts_of(asked.keys, "symbol"),
            exchanges=texts_of(asked.keys, "exchange"),
            interval=interval,
            align=given.align,
            zone=given.tz,
            calendar=given.calendar,
            fill=given.fill,
            conditions=given.conditions,
            view=given.view,
            start_ns=asked.start_ns or 0,
            end_ns=asked.end_ns,
            limit=min(asked.limit, MAX_MADE_ROWS),
            as_of=asked.as_of,
            known_at_ns=asked.known_at_ns,
            checks_names=False,
        )

    async def read(queries: Mapping[str, Queries], asked: Asked) -> RelationRows:
        try:
            answer = await queries[trades.name].bars(request(asked))
        except InvalidParameter as error:
            if error.field not in BarsArguments.__struct_fields__:
                raise
            raise InvalidParameter("query", f"{name}: {error}") from error
        return RelationRows(answer.rows, answer.meta, answer.meta.complete)

    try:
        request(Asked())  # what contradicts itself is refused before anything is read
    except QueryError as error:
        raise ValueError(str(error)) from error
    return Relation(
        name=name,
        row="BarRow",
        summary="Bars of trades, each with what is missing of it.",
        columns=BARS,
        keys=("exchange", "symbol"),
        time="bar_start_ns",
        proof=BarsMeta,
        log=trades,
        read=read,
    )


def _asof_quotes(name: str, arguments: msgspec.Struct) -> Relation:
    assert isinstance(arguments, QuotesArguments)  # noqa: S101 - see `functions_of`
    given = arguments
    is_exact = given.allow_exact_matches == "true"
    rule = AsOfRule(given.strategy, parse_window(given.tolerance), is_exact)
    lengths = () if given.markouts is None else tuple(given.markouts.split(","))
    markouts = tuple((text, parse_window(text)) for text in lengths)
    try:
        join = JoinRequest(rule=rule, markouts=markouts)
    except QueryError as error:
        raise ValueError(str(error)) from error

    async def read(queries: Mapping[str, Queries], asked: Asked) -> RelationRows:
        limit = min(asked.limit, MAX_MADE_ROWS)
        trades = await queries[TRADES.name].rows(
            msgspec.structs.replace(rows_request(asked), limit=limit)
        )
        joined = await queries[QUOTES.name].quotes_of(
            trades.rows,
            msgspec.structs.replace(join, as_of=asked.beside_as_of, known_at_ns=asked.known_at_ns),
        )
        rows, meta = joined.beside(trades)
        is_complete = meta.complete and joined.meta.complete
        return RelationRows(rows, meta, is_complete, joined.meta.token)

    return Relation(
        name=name,
        row="TradeWithQuoteRow",
        summary="Trades, each with the quote that stood at its time.",
        columns=TRADES_QUOTES,
        keys=TRADES.key,
        time=TRADES.time,
        proof=TradesQuotesMeta,
        log=TRADES,
        beside=QUOTES,
        read=read,
    )
