"""A member joins its group by one request, however many protocols it offers."""

from types import SimpleNamespace

from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import MemberIdRequired
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest

from k2_streams.kafka.one_join import join_once
from k2_streams.kafka.topics_assignor import for_topics

GENERATION = 7


class Group:
    """A coordinator's side of a member, with a broker that writes down what it is sent."""

    def __init__(self, *refusals):
        self._assignors = for_topics(RoundRobinPartitionAssignor, ["trades"])
        self._rebalance_timeout_ms = 1_000
        self._group_instance_id = "k2-0"
        self.member_id = ""
        self.generation = -1
        self.joins = []
        self._answers = [*refusals, 0]

    async def _send_req(self, request):
        if isinstance(request, SyncGroupRequest):
            return SimpleNamespace(error_code=0, member_assignment=b"assigned")
        assert isinstance(request, JoinGroupRequest)
        self.joins.append([name for name, _ in request._group_protocols])
        return SimpleNamespace(
            error_code=self._answers.pop(0),
            member_id="one",
            leader_id="another",
            generation_id=GENERATION,
            group_protocol=self.joins[-1][0],
        )

    async def join(self):
        subscription = SimpleNamespace(topics=frozenset({"trades"}), active=True)
        rebalance = CoordinatorGroupRebalance(
            self, "k2", 1, subscription, self._assignors, 10_000, 100
        )
        return await rebalance.perform_group_join()


async def test_one_request_lists_every_protocol():
    group = Group()
    join_once(group)
    names = [one.name for one in group._assignors]
    assert await group.join() == (names[0], b"assigned")
    assert group.joins == [names]
    assert group.generation == GENERATION


async def test_a_join_that_is_refused_is_sent_again_whole():
    group = Group(MemberIdRequired.errno)
    join_once(group)
    names = [one.name for one in group._assignors]
    assert await group.join() == (names[0], b"assigned")
    assert group.joins == [names, names]


async def test_the_client_still_sends_a_part_first():
    """Once it does not, `join_once` can go."""
    group = Group(0)
    await group.join()
    assert [len(names) for names in group.joins] == [1, 2]
