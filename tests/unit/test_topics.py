"""What of a topic is not as K2 needs it: one rule at start and while running."""

import pytest

from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.kafka.topics import TopicInfo, problems_of, stream_topics

SPECS = stream_topics(TRADES_INPUT, "k2", 4)


def problems(spec, *, partitions=4, topic_id="id", **config):
    found = TopicInfo(spec.name, topic_id, partitions)
    return problems_of(spec, found, spec.config | config, "id")


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_topic_as_k2_creates_it_has_no_problem(spec):
    assert problems(spec) == []


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("partitions", [1, 3, 5, 8])
def test_another_number_of_partitions_is_named_and_stops_a_start(spec, partitions):
    (problem,) = problems(spec, partitions=partitions)
    assert problem.stops_start
    assert f"expected 4 partitions (K2_PARTITIONS), found {partitions}" in problem.text
    assert ("are not read" in problem.text) == (partitions > 4)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_setting_that_k2_sets_is_named_where_it_is_worse(spec):
    worse = {
        "message.timestamp.type": "CreateTime",
        "cleanup.policy": "compact,delete",
        "retention.ms": "1000",
        "max.message.bytes": "1000",
    }
    for name in spec.config:
        if name == "delete.retention.ms":
            continue  # how long a reader may take for a tombstone: K2 reads to the end
        (problem,) = problems(spec, **{name: worse[name]})
        assert (problem.topic, problem.setting) == (spec.name, name)
        assert f"expected {name}" in problem.text
        assert worse[name] in problem.text
        assert problem.stops_start == (name == "message.timestamp.type")


def test_longer_retention_and_larger_records_are_no_problem():
    raw, log = SPECS[0], SPECS[1]
    assert problems(raw, **{"retention.ms": "-1"}) == []
    assert problems(log, **{"retention.ms": "1209600000", "max.message.bytes": "99999999"}) == []


def test_a_topic_that_is_gone_or_another_one_is_named():
    raw = SPECS[0]
    assert "is not there" in problems_of(raw, None, {})[0].text
    (problem,) = problems(raw, topic_id="another")
    assert "created anew" in problem.text
