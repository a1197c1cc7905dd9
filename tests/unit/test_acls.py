"""The ACLs of an app: one list for the worker, the command, the documents and the tests."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import topologies.trades
from k2_streams.cli.main import main
from k2_streams.kafka.acls import Acl, Operation, Resource, lacking, refusal
from k2_streams.runtime.acls import acls_of, creating
from k2_streams.runtime.settings.worker import from_environment
from k2_streams.runtime.topics import topics_of

ROOT = Path(__file__).resolve().parents[2]
TOPOLOGY = topologies.trades.app.topology
NEEDED = acls_of(TOPOLOGY, from_environment({}))


def test_every_topic_of_a_worker_is_in_the_list_and_the_raw_topic_is_only_read():
    topics = {acl.name: acl.operations for acl in NEEDED if acl.resource is Resource.TOPIC}
    assert set(topics) == {spec.name for spec in topics_of(TOPOLOGY, from_environment({}))}
    assert Operation.WRITE not in topics["k2.trades.raw"]
    assert all(Operation.WRITE in topics[name] for name in set(topics) - {"k2.trades.raw"})
    assert {acl.name for acl in creating(NEEDED)} == set(topics)


def test_the_logs_of_another_app_are_only_read():
    settings = from_environment({"K2_STREAMS": "quotes"})
    written = {acl.name for acl in acls_of(TOPOLOGY, settings) if Operation.WRITE in acl.operations}
    named = {acl.name for acl in acls_of(TOPOLOGY, settings)}
    assert "k2.quotes" in named
    assert not any("quotes" in name for name in written)


def test_names_follow_the_application_id():
    own = {
        acl.name for acl in acls_of(TOPOLOGY, from_environment({"K2_APP_ID": "mine"}))
        if acl.resource is not Resource.TOPIC
    }  # fmt: skip
    assert own == {"mine", "mine-"}


def test_the_guide_has_the_list_that_the_command_prints():
    printed = CliRunner().invoke(main, ["app", "acls", "topologies.trades"])
    assert printed.exit_code == 0, printed.output
    lines = printed.output.splitlines()
    assert len(lines) == len(NEEDED)
    guide = (ROOT / "docs/how-to/secure.md").read_text()
    blocks = re.findall(r"```text\n(.*?)```", guide, re.DOTALL)
    assert printed.output in blocks


def test_the_command_can_permit_creation_too():
    done = CliRunner().invoke(
        main, ["app", "acls", "topologies.trades", "--create", "--principal", "User:CN=k2"]
    )
    assert "--allow-principal User:CN=k2 --operation Create --topic k2.trades" in done.output


@pytest.mark.parametrize(
    ("operations", "bits", "missing"),
    [
        ((Operation.READ, Operation.WRITE), 0b11000, []),
        ((Operation.READ, Operation.WRITE), 0b01000, [Operation.WRITE]),
        ((Operation.READ,), -(2**31), []),
        ((Operation.READ, Operation.DESCRIBE_CONFIGS), 1 << 8, [Operation.READ,
                                                                Operation.DESCRIBE_CONFIGS]),
    ],
)  # fmt: skip
def test_a_broker_says_by_bits_what_it_permits(operations, bits, missing):
    assert lacking(Acl(Resource.TOPIC, "t", operations), bits) == missing


def test_a_refusal_names_operations_and_resources():
    topic = Acl(Resource.TOPIC, "k2.trades", (Operation.WRITE,))
    ids = Acl(Resource.TRANSACTIONAL_ID, "k2-", (Operation.WRITE,), is_prefix=True)
    text = refusal({topic: [Operation.WRITE], ids: [Operation.WRITE]})
    assert text.startswith(
        "Kafka does not permit Write on topic k2.trades; Write on transactional-id k2-*: grant it"
    )
