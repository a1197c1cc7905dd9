"""What producer and verifier must know of each stream."""

import decimal
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from k2_streams.core.records.stream import QUOTES, TRADES
from k2_streams.feeds.feed import FEEDS
from k2_streams.feeds.quote_feeds import QUOTE_FEEDS

#: The feeds of a stream whose recordings can be sent.
DECODERS = {TRADES.name: FEEDS, QUOTES.name: QUOTE_FEEDS}
#: Pairs of columns whose products, added up, are what a row is worth in a truth file: a checksum of
#: its numbers that does not depend on the order of the rows.
PRODUCTS: dict[str, tuple[tuple[str, str], ...]] = {
    "trades": (("price", "quantity"),),
    "quotes": (("bid_price", "bid_quantity"), ("ask_price", "ask_quantity")),
}
#: Decimals of a price and of a quantity together, at most.
SCALE = 16
_UNIT = Decimal(10) ** SCALE
_EXACT = decimal.Context(prec=60, traps=[decimal.Inexact, decimal.InvalidOperation])


def worth(stream: str, numbers: Mapping[str, Any]) -> int:
    """What a row is worth, in units of 10^-SCALE, exactly. A number that is absent counts as zero.

    Raises:
        decimal.DecimalException: not decimal numbers, or with more decimals than SCALE.
    """
    total = Decimal(0)
    for price, quantity in PRODUCTS[stream]:
        product = _EXACT.multiply(Decimal(numbers[price] or 0), Decimal(numbers[quantity] or 0))
        total = _EXACT.add(total, product)
    return int(_EXACT.to_integral_exact(_EXACT.multiply(total, _UNIT)))
