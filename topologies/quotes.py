"""Quotes: the best bid and offer, by the machinery that trades have.

k2.quotes.raw --> [sequencer] --> k2.quotes --> [sink] --> Iceberg k2.quotes
                       |              '-------> [tail] --.      |
                       |                                  hybrid query --> web
                       '--> k2.quotes.sequence-events, k2.quotes.dead-letter, changelog

faust -A topologies.quotes worker -l info
"""

import k2_streams as k2
from k2_streams.feeds.quote_feeds import QUOTE_FEEDS

app = k2.App("k2-quotes", web_port=6166, folder="quotes-worker")

raw = app.source(k2.QUOTES_INPUT, feeds=QUOTE_FEEDS)
