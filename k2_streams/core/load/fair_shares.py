"""Who may hold how much of a budget: large amounts are shared by callers, small ones always pass.

One caller holds at most half of the budget in large amounts, and all together at most three
quarters, so that another caller finds room beside one that takes all it can get, and a small amount
beside large ones. One large amount is possible at any time, whatever the budget.
"""

from collections import Counter

#: Of the budget, in large amounts: all callers', and one caller's.
LARGE_SHARE = 0.75
CALLER_SHARE = 0.5


class FairShares:
    """What callers hold of a budget.

    Args:
        total: the budget.
        small: an amount up to this is small.
    """

    def __init__(self, total: int, small: int) -> None:
        self.total = total
        self.small = small
        self.held = 0
        self._large = 0
        self._large_of: Counter[str] = Counter()

    def take(self, caller: str, amount: int) -> bool:
        """Take an amount; False: there is no room for it, and nothing was taken."""
        if amount <= self.small:
            if self.held + amount > self.total:
                return False
        elif self._large and (
            self._large + amount > self.total * LARGE_SHARE
            or (
                self._large_of[caller]
                and self._large_of[caller] + amount > self.total * CALLER_SHARE
            )
        ):
            return False
        self._add(caller, amount, 1)
        return True

    def give_back(self, caller: str, amount: int) -> None:
        """Give back an amount that was taken."""
        self._add(caller, amount, -1)

    def shrink(self, caller: str, amount: int, to: int) -> None:
        """An amount that was taken turned out to be less; never refused."""
        self._add(caller, amount, -1)
        self._add(caller, min(amount, to), 1)

    def _add(self, caller: str, amount: int, sign: int) -> None:
        self.held += sign * amount
        if amount <= self.small:
            return
        self._large += sign * amount
        self._large_of[caller] += sign * amount
        if not self._large_of[caller]:
            del self._large_of[caller]
