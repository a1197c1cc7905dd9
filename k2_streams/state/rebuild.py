"""A store that cannot be trusted is wiped and rebuilt from its changelog, once."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from k2_streams.state.checked_store import StoreUnusableError

log = structlog.get_logger(__name__)

T = TypeVar("T")


class StateLostError(Exception):
    """Changelog and store disagree even after a rebuild: a person must decide. Fails closed."""


async def rebuilt_once(
    of: str, recover: Callable[[], Awaitable[T]], wipe: Callable[[], None]
) -> tuple[T, bool]:
    """What `recover` gives, and whether that took a rebuild.

    Args:
        of: changelog topic and partition, as errors and logs name them.
        recover: brings a store to its changelog's end.
        wipe: leaves nothing of what `recover` begins with.

    Raises:
        StateLostError: of nothing, too, `recover` makes what it cannot use.
    """
    try:
        return await recover(), False
    except StoreUnusableError as error:
        log.warning("store unusable, rebuilding", changelog=of, reason=str(error))
    wipe()
    try:
        return await recover(), True
    except StoreUnusableError as error:
        raise StateLostError(f"{of}: rebuilt from the changelog, and still: {error}") from error
