"""The feeds of quotes."""

from k2_streams.feeds.asx_quotes_csv import AsxQuotesCsv
from k2_streams.feeds.canonical_quotes import CanonicalQuotes
from k2_streams.feeds.feed import feeds_of

QUOTE_FEEDS = feeds_of(CanonicalQuotes(), AsxQuotesCsv())
