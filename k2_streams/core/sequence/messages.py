"""The messages of a batch, as the sequence is asked about them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from k2_streams.core.lines.batch import Lined
from k2_streams.core.sequence.sessions import Counting

Int8s = npt.NDArray[np.int8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ruled:
    """How each message's feed counts, in a batch of several feeds."""

    rules: Sequence[Counting]
    rule: Int8s  # of each message: index into `rules`


@dataclass(slots=True)
class Batch:
    """Messages of one partition in the order of their offsets; every array has one entry each."""

    scopes: list[str]  # distinct
    scope: Int32s  # index into `scopes`, never negative
    sequence: Int64s  # -1: none
    sessions: list[str]
    session: Int32s  # index into `sessions`; -1: none
    event_time_ns: Int64s  # 0 or less: not known
    offset: Int64s
    append_ms: Int64s  # the broker's time; 0: not known
    partition: int
    lined: Lined | None = None  # where messages may come by redundant lines
    ruled: Ruled | None = None  # where feeds with other rules are among them
    nature: Int8s | None = None  # a `Nature` each; None: all are usual


def natures_of(batch: Batch, at: npt.NDArray[np.intp]) -> Int8s:
    """What messages of a batch are beside their number."""
    return np.zeros(len(at), np.int8) if batch.nature is None else batch.nature[at]


def counting_at(batch: Batch, counting: Counting, index: int) -> Counting:
    """How the feed of a message counts: its own, or the batch's one."""
    return counting if batch.ruled is None else batch.ruled.rules[int(batch.ruled.rule[index])]
