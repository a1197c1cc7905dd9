"""A consumer group in memory: static members, sessions, generations, eager rebalances.

A member that is silent for its session loses its partitions to the others, whether it knows of it
or not: until its next heartbeat it is a zombie. A member that comes back with its name within the
session gets its partitions back in the same generation.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from k2_streams.core.types import TopicPartition
from k2_streams.testing.memory.loop import VirtualLoop

SESSION_S = 6.0
#: Members that do not answer a rebalance within this are left out of it.
REJOIN_WITHIN_S = 10.0
#: A group waits so long for more members before it assigns.
GATHER_S = 0.5
#: Those who start with it are there by then.
FIRST_TICK_S = 0.1

Joined = tuple[int, set[TopicPartition]]


@dataclass(slots=True)
class GroupMember:
    """What the coordinator knows of a member."""

    seen_s: float
    joined: "asyncio.Future[Joined] | None" = None
    assigned: set[TopicPartition] = field(default_factory=set)


class MemoryGroup:
    """The coordinator.

    Args:
        loop: gives the time.
        tps: that are assigned.
        together: partitions of one number go to one member, as Faust's assignor does it for topics
            of as many partitions; else each goes to the next member.
    """

    def __init__(
        self, loop: VirtualLoop, tps: Sequence[TopicPartition], *, together: bool = False
    ) -> None:
        self._together = together
        self._loop = loop
        self._tps = list(tps)
        self.generation = 0
        self.rebalancing = True
        self._members: dict[str, GroupMember] = {}
        self._deadline_s = REJOIN_WITHIN_S
        loop.later(FIRST_TICK_S, self._tick)

    @property
    def members(self) -> set[str]:
        """The names of all members."""
        return set(self._members)

    def heartbeat(self, name: str, generation: int) -> bool:
        """Whether the member stands as the coordinator has it; if not it must join again."""
        member = self._members.get(name)
        if member is None or generation != self.generation or self.rebalancing:
            if member is not None:
                member.seen_s = self._loop.time()
            return False
        member.seen_s = self._loop.time()
        return True

    def join(self, name: str, *, fresh: bool) -> "asyncio.Future[Joined]":
        """Ask for partitions; a process that has just started is `fresh`."""
        future: asyncio.Future[Joined] = self._loop.create_future()
        member = self._members.get(name)
        now_s = self._loop.time()
        if member is None:
            self._members[name] = member = GroupMember(now_s)
            self.rebalance()
        elif fresh and not self.rebalancing:
            member.seen_s = now_s
            future.set_result((self.generation, set(member.assigned)))
            return future
        member.seen_s = now_s
        member.joined = future
        return future

    def leave(self, name: str) -> None:
        """A member goes for good; its partitions go to the others."""
        if self._members.pop(name, None) is not None:
            self.rebalance()

    def rebalance(self) -> None:
        """Everyone has to join again."""
        if not self.rebalancing:
            self.rebalancing = True
            self._deadline_s = self._loop.time() + REJOIN_WITHIN_S

    def _tick(self) -> None:
        now_s = self._loop.time()
        for name, member in list(self._members.items()):
            if now_s - member.seen_s > SESSION_S and member.joined is None:
                del self._members[name]
                self.rebalance()
        if self.rebalancing and self._members:
            waiting = [m for m in self._members.values() if m.joined is None]
            if not waiting or now_s > self._deadline_s:
                for name, member in list(self._members.items()):
                    if member.joined is None:
                        del self._members[name]
                self._assign()
        self._loop.later(GATHER_S, self._tick)

    def _assign(self) -> None:
        if not self._members:
            return
        self.generation += 1
        self.rebalancing = False
        names = sorted(self._members)
        for member in self._members.values():
            member.assigned = set()
        for index, tp in enumerate(self._tps):
            member_number = tp.partition if self._together else index
            self._members[names[member_number % len(names)]].assigned.add(tp)
        for member in self._members.values():
            future, member.joined = member.joined, None
            if future is not None and not future.done():
                future.set_result((self.generation, set(member.assigned)))
