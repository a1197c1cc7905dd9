"""Feeds by name: which decoder reads a record's value, and how its sequence counts."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from k2_streams.feeds.canonical.feed import Canonical
from k2_streams.feeds.decoding.decoded import Bad, Decoded, Kind, RawBatch, Reason, shown
from k2_streams.feeds.description import CountsOver, Description, Identity, TimeUnit
from k2_streams.feeds.venues.asx_csv import AsxCsv
from k2_streams.feeds.venues.binance import Binance
from k2_streams.feeds.venues.bybit import BybitV5
from k2_streams.feeds.venues.coinbase_advanced import CoinbaseAdvanced
from k2_streams.feeds.venues.coinbase_exchange import CoinbaseExchange
from k2_streams.feeds.venues.hitbtc import HitbtcV2
from k2_streams.feeds.venues.kraken import KrakenV1

__all__ = [
    "CANONICAL",
    "FEEDS",
    "Bad",
    "CountsOver",
    "Decoded",
    "Description",
    "Feed",
    "Feeds",
    "Identity",
    "Kind",
    "RawBatch",
    "Reason",
    "TimeUnit",
    "UnknownFeedError",
    "feed",
    "feeds_of",
]


class Feed(Protocol):
    """A venue's description: its decoder, and what its sequence means.

    `decode` never raises for what a record holds: a record that cannot be used is BAD, and its
    neighbours are decoded as if it were not there. The outcome depends on the record, its key and
    its append time alone.
    """

    @property
    def name(self) -> str:
        """As the header `feed` names it; records without the header are `CANONICAL`."""
        ...

    @property
    def description(self) -> Description:
        """What its sequence counts, and what tells its trades apart."""
        ...

    def decode(self, batch: RawBatch) -> Decoded:
        """Decode records of this feed."""
        ...


class UnknownFeedError(LookupError):
    """A name that no feed has: fix the header, or use a K2 that knows the feed."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"expected one of {', '.join(known)}, found {shown(name)}")
        self.name = name


#: The feed of a record without the header `feed`.
CANONICAL = "canonical"
#: The feeds of a stream, by name.
Feeds = Mapping[str, Feed]


def feeds_of(*feeds: Feed) -> Feeds:
    """These feeds by their names."""
    return {known.name: known for known in feeds}


#: The feeds of trades.
FEEDS = feeds_of(
    Canonical(),
    AsxCsv(),
    Binance("binance.spot"),
    Binance("binance.usdm", "usdm"),
    Binance("binance.coinm", "coinm"),
    BybitV5(),
    CoinbaseAdvanced(),
    CoinbaseExchange(),
    HitbtcV2(),
    KrakenV1(),
)


def feed(name: str, feeds: Feeds = FEEDS) -> Feed:
    """The feed of this name.

    Raises:
        UnknownFeedError: there is none.
    """
    try:
        return feeds[name]
    except KeyError:
        raise UnknownFeedError(name, feeds) from None
