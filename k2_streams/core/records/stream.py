"""A stream: one kind of market data on its way from its raw topic to its table.

A topology is the same machinery over one of these. What is the same for every stream (sequence,
transaction, sink, tail, query) reads the description; nothing else tells trades from quotes.
"""

from dataclasses import dataclass

import pyarrow as pa

from k2_streams.core.records import schema


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """What tells one kind of data from another.

    Attributes:
        name: of the log `k2.<name>`, the Iceberg table of that name and the path `/v1/<name>`.
        app_id: of a worker that is not told another one.
        web_port: the same.
        events: the topic of what the sequencer finds.
        dead_letter: the topic of what cannot be used.
        levels: the topic of changes of the level of degradation.
        row_schema: what a feed's decoder gives.
        log_schema: what a record of the log holds.
        table_schema: what the table and every answer show, in this order.
        last: columns that `/v1/symbols` shows of a symbol's newest row, as `last_<column>`.
        folder: stem of the folder of a worker's own state, below the data directory.
        added: columns that a table made by an earlier version lacks, in the order they were added;
            the last of `table_schema`, and nullable.
    """

    name: str
    app_id: str
    web_port: int
    events: str
    dead_letter: str
    levels: str
    row_schema: pa.Schema
    log_schema: pa.Schema
    table_schema: pa.Schema
    last: tuple[str, ...]
    folder: str = "worker"
    added: tuple[str, ...] = ()

    @property
    def is_corrected(self) -> bool:
        """Whether rows may refer to rows that they correct."""
        return "ref_message_id" in self.table_schema.names

    @property
    def raw(self) -> str:
        """The topic of what venues send."""
        return f"{self.log}.raw"

    @property
    def log(self) -> str:
        """The topic of what was accepted, and the table's name."""
        return f"k2.{self.name}"

    @property
    def deferred(self) -> str:
        """The topic of what was put off under load."""
        return f"{self.log}.deferred"


TRADES = Stream(
    name="trades",
    app_id="k2",
    web_port=6066,
    events="k2.sequence-events",
    dead_letter="k2.dead-letter",
    levels="k2.levels",
    row_schema=schema.ROWS,
    log_schema=schema.LOG,
    table_schema=schema.TRADES,
    last=("price", "quantity"),
    added=("action", "ref_message_id"),
)

QUOTES = Stream(
    name="quotes",
    app_id="k2-quotes",
    web_port=6166,
    events="k2.quotes.sequence-events",
    dead_letter="k2.quotes.dead-letter",
    levels="k2.quotes.levels",
    row_schema=schema.QUOTE_ROWS,
    log_schema=schema.QUOTE_LOG,
    table_schema=schema.QUOTES,
    last=("bid_price", "bid_quantity", "ask_price", "ask_quantity"),
    folder="quotes-worker",
)

#: All of them, by name.
STREAMS = {stream.name: stream for stream in (TRADES, QUOTES)}
