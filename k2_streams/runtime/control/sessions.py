"""Which exchanges trade now, by their calendars: silence in a break or at night is no fault."""

import asyncio
from collections.abc import Callable, Mapping

from k2_streams.calendars import is_trading
from k2_streams.clock import Clock

#: An open or a close is seen this much later, at the most: below the least window of a rule.
LOOK_EVERY_S = 15.0


class ExchangeSessions:
    """Shows of each exchange whether its calendar has a session now, and no break in it.

    Args:
        calendars: their names, by exchange.
        clock: says when it is.
        show: is told of each exchange whether it trades.
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
            self._show(exchange, is_trading(name, now_ns))
