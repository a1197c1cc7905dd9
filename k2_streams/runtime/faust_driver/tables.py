"""Faust's tables, of which an app of K2 has none: a worker refuses to start with one."""

from typing import Any

from faust.tables import TableManager
from faust.tables.recovery import Recovery


class UnhurriedRecovery(Recovery):  # type: ignore[misc]
    """Waits as long as a take-over takes.

    Faust gives it `broker_request_timeout`, 90 s, and takes the end of that for the end of its
    service: the tables that were being restored would be closed half way, and nothing assigned to
    this worker afterwards would be read. The next rebalance, or the worker's end, ends the wait.
    """

    async def _wait(self, coro: Any, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - Faust's
        await super()._wait(coro)


class NoTables(TableManager):  # type: ignore[misc]
    """Starts at once: Faust's own first waits a second for tables that may still be declared.

    The consumer subscribes behind it, so a worker would join its group a second later.
    """

    _recovery: UnhurriedRecovery | None = None

    @property
    def recovery(self) -> UnhurriedRecovery:
        """What has the worker take its partitions over after each rebalance."""
        if self._recovery is None:
            self._recovery = UnhurriedRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    async def on_start(self) -> None:
        """What Faust does after its wait."""
        await self._update_channels()
        await self.recovery.start()
