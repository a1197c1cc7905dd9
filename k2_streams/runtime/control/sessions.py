"""Which exchanges have a session now, by their calendars: silence outside of one is no fault."""

import asyncio
from collections.abc import Callable, Mapping

from k2_streams.calendars import sessions_of
from k2_streams.clock import Clock

#: An open or a close is seen this much later, at the most: below the least window of a rule.
LOOK_EVERY_S = 15.0


class ExchangeSessions:
    """Shows of each exchange whether its calendar has a session now; breaks are within one.

    Args:
        calendars: their names, by exchange.
        clock: says when it is.
        show: is told of each exchange whether a session is open.
    """

    def __init__(
        self, calendars: Mapping[str, str], clock: Clock, show: Callable[[str, bool], None]
    ) -> None:
        self._calendars = calendars
        self._clock = clock
        self._show = show

    async def run(self) -> None:
        """Look for ever.

        Raises:
            CalendarError: a calendar does not reach so far: the package is too old.
        """
        while True:
            # The first look makes the calendars, which takes a second each.
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Show how it is now."""
        now_ns = self._clock.time_ns()
        for exchange, name in self._calendars.items():
            self._show(exchange, bool(sessions_of(name, now_ns, now_ns + 1)))
