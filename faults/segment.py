"""What a run is made of: groups of segments; one stage per group, one fault per segment."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from faults.oracle import Outcome, compare
from faults.stage import FaultStage

S = TypeVar("S", bound=FaultStage)


@dataclass(frozen=True, slots=True)
class Segment(Generic[S]):
    """A fault, made to happen again and again under load.

    Attributes:
        name: in the table.
        injection: makes it happen once, given how often it has; seconds of its recovery.
        takes_s: with its recovery, on two busy cores.
        times: how often, by plan; none in a plan that is not named.
    """

    name: str
    injection: Callable[[S, int], float]
    takes_s: float
    times: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Group(Generic[S]):
    """Segments of one stage, in this order.

    Attributes:
        name: in the table.
        opened: the stage for as long as it is there. Raises `UnavailableError` where it cannot be.
        segments: its faults.
        isolated: it mounts, or makes network interfaces: in namespaces of the run's own.
        compare: the outcome of some of the stage's truths; `deep` of all of them.
    """

    name: str
    opened: Callable[[Path, int], AbstractContextManager[S]]
    segments: tuple[Segment[S], ...]
    isolated: bool = False
    compare: Callable[..., Outcome] = compare
