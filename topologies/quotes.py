"""Quotes: the best bid and offer, by the machinery that trades have.

k2.quotes.raw --> [sequencer] --> k2.quotes --> [sink] --> Iceberg k2.quotes
                       |              '-------> [tail] --.      |
                       |                                  hybrid query --> web
                       '--> k2.quotes.sequence-events, k2.quotes.dead-letter, changelog

faust -A topologies.quotes worker -l info
"""

from collections.abc import AsyncIterator

from k2_streams.core.records.source import QUOTES_INPUT
from k2_streams.feeds.quote_feeds import QUOTE_FEEDS
from k2_streams.runtime.app import stream_app
from k2_streams.runtime.fetched import Fetched

app = stream_app(QUOTES_INPUT, QUOTE_FEEDS)


@app.batch_agent(QUOTES_INPUT.raw)
async def sequencer(batches: AsyncIterator[Fetched]) -> None:
    """Decode, validate, sequence: one task a partition, one transaction a checkpoint."""
    async for fetched in batches:
        app.owner.offer_raw(fetched)


@app.batch_agent(QUOTES_INPUT.stream.log)
async def sink(batches: AsyncIterator[Fetched]) -> None:
    """Batches to Parquet to Iceberg: a commit is a compare-and-set on the offset vector."""
    async for fetched in batches:
        app.owner.offer_log(fetched)
