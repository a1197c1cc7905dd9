"""Synthetic symbols in tiers: how many of them, how much of the load, the table for a worker."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class SymbolTiers:
    """The first symbols are of tier 1, those behind them of tier 2, the rest of tier 3.

    Args:
        symbols: of tier 1 and of tier 2.
        shares: of the messages, of tier 1 and of tier 2.
    """

    symbols: tuple[int, int] = (20, 180)
    shares: tuple[float, float] = (0.05, 0.25)

    @property
    def text(self) -> str:
        """As `k2 produce` takes it."""
        pairs = zip(self.symbols, self.shares, strict=True)
        return ",".join(f"{symbols}:{share:g}" for symbols, share in pairs)

    def check(self, symbols: int) -> None:
        """Refuse tiers that this many symbols cannot have.

        Raises:
            ValueError: says what was expected and found.
        """
        if min(self.symbols) < 1 or sum(self.symbols) >= symbols:
            raise ValueError(
                f"tiers: expected some symbols of {symbols} in each of three, found {self.symbols}"
            )
        if min(self.shares) <= 0 or sum(self.shares) >= 1:
            raise ValueError(f"tiers: expected shares below 1 in all, found {self.shares}")

    def weights(self, within: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The symbols' weights, each tier's share spread over it as `within` falls."""
        sizes = (*self.symbols, len(within) - sum(self.symbols))
        shares = (*self.shares, 1 - sum(self.shares))
        parts = [within[:size] for size in sizes]
        scaled = [part / part.sum() * share for part, share in zip(parts, shares, strict=True)]
        return np.concatenate(scaled)

    def first_of(self, tier: int) -> int:
        """The tier's first symbol."""
        return sum(self.symbols[: tier - 1])

    def write(self, file: Path, scopes: list[str]) -> None:
        """The table that makes a worker see these tiers (`K2_TIERS_FILE`)."""
        lines = [f"{scope},1" for scope in scopes[: self.symbols[0]]]
        lines += [f"{scope},2" for scope in scopes[self.symbols[0] : sum(self.symbols)]]
        file.write_text("\n".join(lines) + "\n", "utf-8")
