"""Faust's tables, of which an app of K2 has none: a worker refuses to start with one."""

from faust.tables import TableManager


class NoTables(TableManager):  # type: ignore[misc]
    """Starts at once: Faust's own first waits a second for tables that may still be declared.

    The consumer subscribes behind it, so a worker would join its group a second later.
    """

    async def on_start(self) -> None:
        """What Faust does after its wait."""
        await self._update_channels()
        await self.recovery.start()
