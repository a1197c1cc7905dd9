"""Which trades count in a bar: the rules of an exchange for the conditions of its trades.

The shape is that of the tapes' tables: a trade with a condition may or may not set open and close,
high and low, and volume. Of several conditions each must allow it; one that no rule names allows
all, and so does no condition.
"""

from dataclasses import dataclass
from typing import NamedTuple


class ConditionRule(NamedTuple):
    """What a trade with a condition counts for."""

    exchange: str
    condition: str
    updates_open_close: bool
    updates_high_low: bool
    updates_volume: bool


@dataclass(frozen=True, slots=True)
class ConditionRules:
    """The rules of all exchanges.

    Raises:
        ValueError: two rules are about the same condition.
    """

    rules: tuple[ConditionRule, ...]

    def __post_init__(self) -> None:
        """Check that they do not contradict each other."""
        seen: set[tuple[str, str]] = set()
        for rule in self.rules:
            if rule[:2] in seen:
                raise ValueError(f"two rules for condition {rule.condition!r} of {rule.exchange}")
            seen.add(rule[:2])

    def excluded(self, what: str) -> list[str]:
        """The conditions that exclude a trade from a field of the rules: `EXCHANGE:CONDITION`.

        The name of an exchange has no colon, so that one text means one pair.
        """
        return sorted(
            f"{rule.exchange}:{rule.condition}" for rule in self.rules if not getattr(rule, what)
        )
