"""What matters most under load: each scope key has a tier, from a table of patterns.

One line each, `PATTERN,TIER`; `#` begins a comment. A pattern is a key (`ASX:BHP`) or the
beginning of keys with a `*` behind it (`ASX:*`, `*`). The longest pattern that fits counts, a whole
key before all. What no pattern fits is of tier 3.
"""

from collections.abc import Mapping

DEFAULT_TIER = 3
#: Every symbol of a large market, some times over; each line takes about 100 bytes in memory.
MAX_PATTERNS = 200_000

#: The constituents of the S&P/ASX 20 as of May 2022. It changes four times a year: a table of your
#: own (`K2_TIERS_FILE`) replaces this one.
DEFAULT_TABLE = """
ASX:ALL,1
ASX:ANZ,1
ASX:BHP,1
ASX:CBA,1
ASX:COL,1
ASX:CSL,1
ASX:FMG,1
ASX:GMG,1
ASX:MQG,1
ASX:NAB,1
ASX:NCM,1
ASX:RIO,1
ASX:S32,1
ASX:STO,1
ASX:TCL,1
ASX:TLS,1
ASX:WBC,1
ASX:WDS,1
ASX:WES,1
ASX:WOW,1
"""


class TierTableError(ValueError):
    """A line of the table cannot be used; the text names it."""


class TierTable:
    """Tiers by key. Immutable."""

    def __init__(self, patterns: Mapping[str, int]) -> None:
        self._keys = {key: tier for key, tier in patterns.items() if not key.endswith("*")}
        self._beginnings = {key[:-1]: tier for key, tier in patterns.items() if key.endswith("*")}
        self._lengths = sorted({len(beginning) for beginning in self._beginnings}, reverse=True)

    def __len__(self) -> int:
        """Patterns."""
        return len(self._keys) + len(self._beginnings)

    def tier_of(self, key: str) -> int:
        """The tier of a scope key."""
        exact = self._keys.get(key)
        if exact is not None:
            return exact
        for length in self._lengths:
            tier = self._beginnings.get(key[:length])
            if tier is not None and len(key) >= length:
                return tier
        return DEFAULT_TIER


def parse(text: str) -> TierTable:
    """A table from its text.

    Raises:
        TierTableError: with the number of the first line that is wrong.
    """
    patterns: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        pattern, comma, tier = content.rpartition(",")
        pattern = pattern.strip()
        if not comma or not pattern or tier.strip() not in {"1", "2", "3"}:
            raise TierTableError(
                f"line {number}: expected PATTERN,TIER (1, 2 or 3), found {line!r}"
            )
        if "*" in pattern[:-1]:
            raise TierTableError(f"line {number}: a '*' stands at the end alone, found {pattern!r}")
        if pattern in patterns:
            raise TierTableError(f"line {number}: {pattern!r} stands there twice")
        patterns[pattern] = int(tier)
        if len(patterns) > MAX_PATTERNS:
            raise TierTableError(f"line {number}: more than {MAX_PATTERNS} patterns")
    return TierTable(patterns)
