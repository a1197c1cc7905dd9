"""Feeds of other packages: found by the entry points `k2_streams.feeds.trades` and `.quotes`.

In the group of a stream, a package declares, under a feed's name, an object that is a `Feed`, or a
class that makes one without arguments. What is declared and cannot be used is an error of the
installation: a worker must not start and send the records of that feed to the dead letter topic.
"""

import re
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from k2_streams.feeds.description import Description
from k2_streams.feeds.feed import Feeds

#: With the stream behind it, the name of a group of entry points.
GROUP = "k2_streams.feeds"
#: It goes into headers and labels of metrics.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}", re.ASCII)


class FeedPluginError(Exception):
    """A package declares a feed that cannot be used: fix or remove the package."""


def with_plugged_in(stream: str, own: Feeds) -> Feeds:
    """K2's own feeds of a stream and those of other packages, by name.

    Raises:
        FeedPluginError: one of them cannot be used.
    """
    found: dict[str, Any] = {}
    for point in entry_points(group=f"{GROUP}.{stream}"):
        if point.name in own or point.name in found:
            raise _error(point, "a name that no other feed has")
        found[point.name] = _loaded(point)
    return {**own, **found}


def _loaded(point: EntryPoint) -> Any:
    try:
        made = point.load()
        made = made() if isinstance(made, type) else made
    except Exception as error:  # whatever a foreign package raises: the start ends with its name
        raise _error(point, f"something that can be loaded ({error!r})") from error
    if not _NAME.fullmatch(point.name) or getattr(made, "name", None) != point.name:
        raise _error(point, f"the feed's own `name`, {_NAME.pattern}")
    if not isinstance(getattr(made, "description", None), Description):
        raise _error(point, "a feed with a `description`")
    if not callable(getattr(made, "decode", None)):
        raise _error(point, "a feed with `decode(batch)`")
    return made


def _error(point: EntryPoint, expected: str) -> FeedPluginError:
    package = point.dist.name if point.dist else "a package"
    return FeedPluginError(
        f"{package}: {point.group}: {point.name} = {point.value}: expected {expected}"
    )
