"""What a local broker is told."""

from k2_streams.testing.local.broker_files import Member, server_properties


def properties(text: str) -> dict[str, str]:
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def test_a_broker_alone_keeps_one_copy():
    """Nobody else could take it over, or hold a second one."""
    told = properties(server_properties(9092, 9093))
    assert told["controller.quorum.voters"] == "1@127.0.0.1:9093"
    assert told["transaction.state.log.replication.factor"] == "1"
    assert told["min.insync.replicas"] == "1"


def test_a_node_of_three_knows_the_others_and_acknowledges_two_copies():
    """Any one may be killed: what was acknowledged is on another."""
    member = Member("cluster", 2, (7001, 7002, 7003))
    told = properties(server_properties(9092, member.controller_port, "10.0.0.1", member))
    assert told["node.id"] == "2"
    assert told["controller.quorum.voters"] == "1@127.0.0.1:7001,2@127.0.0.1:7002,3@127.0.0.1:7003"
    assert told["listeners"] == "PLAINTEXT://10.0.0.1:9092,CONTROLLER://127.0.0.1:7002"
    for topic in ("offsets.topic", "transaction.state.log"):
        assert told[f"{topic}.replication.factor"] == "3"
    assert told["transaction.state.log.min.isr"] == told["min.insync.replicas"] == "2"


def test_a_coordinator_has_little_to_read_when_it_starts():
    """A group's log that only grows takes a second to load: see docs/contributing/faults.md."""
    told = properties(server_properties(9092, 9093))
    for topic in ("offsets.topic", "transaction.state.log"):
        assert int(told[f"{topic}.segment.bytes"]) <= 1 << 20
