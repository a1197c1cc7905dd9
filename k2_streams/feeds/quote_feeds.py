"""The feeds of quotes."""

from k2_streams.feeds.canonical.quotes import CanonicalQuotes
from k2_streams.feeds.feed import feeds_of
from k2_streams.feeds.venues.asx_quotes_csv import AsxQuotesCsv

QUOTE_FEEDS = feeds_of(CanonicalQuotes(), AsxQuotesCsv())
