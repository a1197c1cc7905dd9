"""For tests of apps and of feeds. The product imports nothing from here.

`StreamDriver` runs an app without a broker (install `k2-streams[testing]`; in pytest the fixture
`k2_driver` makes drivers). `fuzz_feed` tries a feed's decoder on damaged records. A name is
imported when it is first used: commands that start a local broker need nothing of the driver.
"""

from typing import TYPE_CHECKING, Any

from k2_streams.importing import import_when_used

if TYPE_CHECKING:
    from k2_streams.testing.driver import StreamDriver
    from k2_streams.testing.driver_errors import DriverError
    from k2_streams.testing.driver_limits import DRIVER_LIMITS
    from k2_streams.testing.driver_topics import InputMessage
    from k2_streams.testing.feed_fuzz import FeedFaultError, fuzz_feed

__all__ = [
    "DRIVER_LIMITS",
    "DriverError",
    "FeedFaultError",
    "InputMessage",
    "StreamDriver",
    "fuzz_feed",
]

#: The module of each public name.
_HOME_OF = {
    "DRIVER_LIMITS": "driver_limits",
    "DriverError": "driver_errors",
    "FeedFaultError": "feed_fuzz",
    "InputMessage": "driver_topics",
    "StreamDriver": "driver",
    "fuzz_feed": "feed_fuzz",
}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    try:
        found = getattr(import_when_used(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as error:
        if error.name != "greenlet":
            raise
        raise ModuleNotFoundError(
            f"{name} needs greenlet: install k2-streams[testing]", name="greenlet"
        ) from error
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
