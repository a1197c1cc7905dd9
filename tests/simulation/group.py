"""A simulated consumer group: static members, sessions, generations, eager rebalances.

A member that is silent for its session loses its partitions to the others, whether it knows of it
or not: until its next heartbeat it is a zombie. A member that comes back with its name within the
session gets its partitions back in the same generation.
"""

import asyncio
from dataclasses import dataclass, field

from k2_streams.core.types import TopicPartition
from simulation.loop import Loop

SESSION_S = 6.0
#: Members that do not answer a rebalance within this are left out of it.
REJOIN_WITHIN_S = 10.0
#: A group waits so long for more members before it assigns.
GATHER_S = 0.5


@dataclass(slots=True)
class Member:
    """What the coordinator knows of a member."""

    seen_s: float
    joined: "asyncio.Future[tuple[int, set[TopicPartition]]] | None" = None
    assigned: set[TopicPartition] = field(default_factory=set)


class Group:
    """The coordinator."""

    def __init__(self, loop: Loop, tps: list[TopicPartition]) -> None:
        self._loop = loop
        self._tps = tps
        self.generation = 0
        self.rebalancing = True
        self._members: dict[str, Member] = {}
        self._deadline_s = REJOIN_WITHIN_S
        loop.later(0.1, self._tick)

    def heartbeat(self, name: str, generation: int) -> bool:
        """Whether the member stands as the coordinator has it; if not it must join again."""
        member = self._members.get(name)
        if member is None or generation != self.generation or self.rebalancing:
            if member is not None:
                member.seen_s = self._loop.time()
            return False
        member.seen_s = self._loop.time()
        return True

    def join(self, name: str, *, fresh: bool) -> "asyncio.Future[tuple[int, set[TopicPartition]]]":
        """Ask for partitions; a process that has just started is `fresh`."""
        future: asyncio.Future[tuple[int, set[TopicPartition]]] = self._loop.create_future()
        member = self._members.get(name)
        now_s = self._loop.time()
        if member is None:
            self._members[name] = member = Member(now_s)
            self.rebalance()
        elif fresh and not self.rebalancing:
            member.seen_s = now_s
            future.set_result((self.generation, set(member.assigned)))
            return future
        member.seen_s = now_s
        member.joined = future
        return future

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
            self._members[names[index % len(names)]].assigned.add(tp)
        for member in self._members.values():
            future, member.joined = member.joined, None
            if future is not None and not future.done():
                future.set_result((self.generation, set(member.assigned)))
