"""What a caller may read: some relations, and in them some exchanges."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What may be read.

    Attributes:
        exchanges: whose rows; None: those of all.
        relations: by name; None: all, and all that is shown of the process itself.
    """

    exchanges: frozenset[str] | None = None
    relations: frozenset[str] | None = None

    @property
    def is_all(self) -> bool:
        """Whether there is nothing that may not be read."""
        return self.exchanges is None and self.relations is None

    @property
    def limits(self) -> tuple[list[str] | None, list[str] | None]:
        """Exchanges and relations in order: equal for callers that may read the same."""
        return (
            None if self.exchanges is None else sorted(self.exchanges),
            None if self.relations is None else sorted(self.relations),
        )

    def is_permitted(self, exchange: str) -> bool:
        """Whether what is of an exchange may be read."""
        return self.exchanges is None or exchange in self.exchanges
