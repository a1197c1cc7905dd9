"""What a scope's key says: of which exchange and symbol its numbers are.

    EXCHANGE:SYMBOL             a symbol's own messages
    EXCHANGE:MARKET:SYMBOL      the same: the market is part of the symbol's name
    EXCHANGE:SYMBOL@CHANNEL     the same: what is counted apart has a name of its own
    EXCHANGE:@CONNECTION        the messages of a connection, of whatever symbol

A row's exchange and symbol are those of its key, or of its message under a connection's key. So
one rule says which scopes a symbol's rows can be missing from: its own, by the whole name, and the
connections of its exchange, since a message lost there may have been of any symbol.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

CONNECTION = "@"


def exchange_of(scope: str) -> str:
    """The exchange of a scope."""
    return scope.partition(":")[0]


def symbol_of(scope: str) -> str:
    """The name behind the exchange: the symbol of the rows, or the connection."""
    return scope.partition(":")[2]


def is_connection(scope: str) -> bool:
    """Whether the scope's numbers are shared by all symbols of a connection."""
    return symbol_of(scope).startswith(CONNECTION)


def own_scope(exchange: str, symbol: str) -> str:
    """The scope that counts this symbol's messages alone."""
    return f"{exchange}:{symbol}"


def exchanges_of(
    scopes: Sequence[str], scope: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], list[str]]:
    """Of each message, by the index of its scope, the index of its exchange; and the exchanges."""
    places: dict[str, int] = {}
    of_scope = [places.setdefault(exchange_of(one), len(places)) for one in scopes]
    return np.array(of_scope, np.int32)[scope], list(places)
