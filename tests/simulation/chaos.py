"""What goes wrong in a run, and how often: drawn from the seed, switched off at its end."""

import random
from dataclasses import dataclass, fields


@dataclass
class Rates:
    """Chances a request, a file or a second; 0 is never."""

    lost_request: float = 0.0  # it never arrives, and the client is told of a time-out
    lost_answer: float = 0.0  # it arrives, and the client is told of an error
    slow: float = 0.0  # it arrives, or is answered, seconds later
    kill: float = 0.0  # a second and worker
    stop: float = 0.0  # SIGSTOP, for up to twice the session
    disk: float = 0.0  # a killed worker's disk is not as it was
    lost_batch: float = 0.0  # a fetched batch does not reach its task
    rebalance: float = 0.0  # a second: the group begins anew for no reason
    catalog_refused: float = 0.0  # an error, and nothing landed
    catalog_lost: float = 0.0  # an error, and it landed
    catalog_late: float = 0.0  # an error, and it lands later
    catalog_away: float = 0.0  # a read fails
    store_failed: float = 0.0  # a file of the warehouse cannot be written or read
    clock: float = 0.0  # a second: a worker's calendar jumps
    load: float = 0.0  # a second: a worker's memory is another one
    disk_full: float = 0.0  # a second: others fill a worker's disk for a while
    unmarked: float = 0.0  # an abort: some partitions get no marker


#: The upper end of each rate; a run draws below it, or switches the kind off.
MOST = Rates(
    lost_request=0.02,
    lost_answer=0.02,
    slow=0.02,
    kill=0.12,
    stop=0.08,
    disk=0.5,
    lost_batch=0.05,
    rebalance=0.08,
    catalog_refused=0.2,
    catalog_lost=0.2,
    catalog_late=0.2,
    catalog_away=0.1,
    store_failed=0.03,
    clock=0.1,
    load=0.5,
    disk_full=0.1,
    unmarked=0.05,
)


class Chaos:
    """Draws what happens. After `calm` nothing goes wrong any more."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.rates = Rates()
        for kind in fields(Rates):
            if chance.random() < 0.5:
                setattr(self.rates, kind.name, chance.random() * getattr(MOST, kind.name))
        self.counts: dict[str, int] = {}

    def calm(self) -> None:
        """No more faults."""
        self.rates = Rates()

    def happens(self, kind: str) -> bool:
        """Whether a fault of this kind happens now."""
        rate = getattr(self.rates, kind)
        if rate and self.chance.random() < rate:
            self.count(kind)
            return True
        return False

    def count(self, kind: str) -> None:
        """Note that it happened."""
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def one_way_s(self) -> float:
        """How long a request, or its answer, is on its way."""
        if self.happens("slow"):
            return self.chance.uniform(0.5, 20.0)
        return self.chance.uniform(0.0005, 0.01)

    def delivery_s(self) -> float:
        """How long fetched records are on their way to their task."""
        return self.chance.uniform(0, 0.003)
