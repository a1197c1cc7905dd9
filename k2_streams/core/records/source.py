"""What belongs to a raw topic: where its records come from and what becomes of each of them.

The rows that are accepted are a stream of their own (`stream`), as anything with a log is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from k2_streams.core.ledger.streams import Ledger
from k2_streams.core.records import schema
from k2_streams.core.records.stream import (
    QUOTES,
    RESERVED_STREAMS,
    TRADES,
    Stream,
    StreamError,
)


@dataclass(frozen=True, slots=True, eq=False)
class RawInput:
    """A raw topic that feeds decode, and the stream of its accepted rows.

    Attributes:
        stream: of the accepted rows.
        row_schema: what a feed's decoder gives.
        app_id: of a worker that is not told another one.
        web_port: the same.
        events: the topic of what the sequencer finds.
        dead_letter: the topic of records that could not be processed.
        levels: the topic of changes of the degradation level.
        folder: stem of the folder of a worker's own state, below the data directory.
        ledger: the same three topics, and that of repairs, as streams: their tables `gap_events`,
            `dead_letters`, `levels` and `repairs` have the name of the stream and `_` before
            theirs, but for trades.
    """

    stream: Stream
    row_schema: pa.Schema
    app_id: str
    web_port: int
    events: str
    dead_letter: str
    levels: str
    folder: str = "worker"
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        """The ledger follows from the topics."""
        ledger = Ledger.of(
            self.stream.name,
            "" if self.stream is TRADES else f"{self.stream.name}_",
            events=self.events,
            dead_letters=self.dead_letter,
            levels=self.levels,
            repairs=self.repairs,
        )
        object.__setattr__(self, "ledger", ledger)

    @classmethod
    def of(
        cls, name: str, columns: Sequence[pa.Field], *, last: tuple[str, ...] = ()
    ) -> "RawInput":
        """A raw topic of your own: `k2.<name>.raw`, and the stream `<name>` of its accepted rows.

        Args:
            name: lower-case letters, digits, `_` and `-`.
            columns: of its rows, beside those that all rows have: exchange, symbol, times,
                conditions, vendor, and what the sequencer adds.
            last: of them those that `/v1/symbols` shows of a symbol's newest row.

        Raises:
            StreamError: a column cannot be stored, or the name is one of K2's own.
        """
        if name in RESERVED_STREAMS:
            raise StreamError(f"stream {name}: name is one of K2's own: choose another")
        stream = Stream.of_raw(name, columns, last=last)
        return cls(
            stream,
            row_schema=schema.raw_shapes(columns).rows,
            app_id=f"k2-{name}",
            web_port=TRADES_INPUT.web_port,
            events=f"{stream.log}.sequence-events",
            dead_letter=f"{stream.log}.dead-letter",
            levels=f"{stream.log}.levels",
            folder=f"k2-{name}-worker",
        )

    @property
    def raw(self) -> str:
        """The topic of what venues send."""
        return f"{self.stream.log}.raw"

    @property
    def deferred(self) -> str:
        """The topic of records that were deferred under load."""
        return f"{self.stream.log}.deferred"

    @property
    def redrives(self) -> str:
        """The topic that says which dead letters were sent again."""
        return f"{self.stream.log}.redrives"

    @property
    def repairs(self) -> str:
        """The topic that says what repairs asked for and what came of it."""
        return f"{self.stream.log}.repairs"

    @property
    def tables(self) -> tuple[str, ...]:
        """K2's own tables: scopes with the position, and the trade ids that were seen."""
        return ("sequence", "dedup")


TRADES_INPUT = RawInput(
    TRADES,
    row_schema=schema.ROWS,
    app_id="k2",
    web_port=6066,
    events="k2.sequence-events",
    dead_letter="k2.dead-letter",
    levels="k2.levels",
)

QUOTES_INPUT = RawInput(
    QUOTES,
    row_schema=schema.QUOTE_ROWS,
    app_id="k2-quotes",
    web_port=6166,
    events="k2.quotes.sequence-events",
    dead_letter="k2.quotes.dead-letter",
    levels="k2.quotes.levels",
    folder="quotes-worker",
)

#: All of them, by the name of their stream.
INPUTS = {source.stream.name: source for source in (TRADES_INPUT, QUOTES_INPUT)}
