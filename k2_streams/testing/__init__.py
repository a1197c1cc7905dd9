"""For tests of apps and of feeds. The product imports nothing from here.

`StreamDriver` runs an app without a broker (install `k2-streams[testing]`; in pytest the fixture
`k2_driver` makes drivers). `fuzz_feed` tries a feed's decoder on damaged records.
"""

from typing import TYPE_CHECKING, Any

from k2_streams.testing.driver_errors import DriverError
from k2_streams.testing.driver_topics import InputMessage
from k2_streams.testing.feed_fuzz import FeedFaultError, fuzz_feed

if TYPE_CHECKING:
    from k2_streams.testing.driver import StreamDriver

__all__ = ["DriverError", "FeedFaultError", "InputMessage", "StreamDriver", "fuzz_feed"]


def __getattr__(name: str) -> Any:
    """`StreamDriver`, which needs everything that a worker needs, when it is asked for."""
    if name != "StreamDriver":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from k2_streams.testing.driver import StreamDriver  # noqa: PLC0415 - see above

    return StreamDriver
