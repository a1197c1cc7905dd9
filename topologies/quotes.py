"""Quotes: the best bid and offer, by the machinery that trades have.

k2.quotes.raw --> [sequencer] --> k2.quotes --> [sink] --> Iceberg k2.quotes
                       |              '-------> [tail] --.      |
                       |                                  hybrid query --> web
                       '--> k2.quotes.sequence-events, k2.quotes.dead-letter, changelog

faust -A topologies.quotes worker -l info
"""

from k2_streams.core.records.source import QUOTES_INPUT
from k2_streams.feeds.quote_feeds import QUOTE_FEEDS
from k2_streams.runtime.app import stream_app

app = stream_app(QUOTES_INPUT, QUOTE_FEEDS)
