"""Settings that cannot work are refused at once, by name, all of them together."""

import re
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import forked
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.cli.main import main
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.tls import tls_problem
from k2_streams.lake import properties
from k2_streams.runtime.settings.worker import SettingsError, declared, from_environment

ROOT = Path(__file__).resolve().parents[2]
SASL = {"K2_KAFKA_SASL_USERNAME": "me", "K2_KAFKA_SASL_PASSWORD": "x"}
PROTOCOL, MECHANISM = "K2_KAFKA_SECURITY_PROTOCOL", "K2_KAFKA_SASL_MECHANISM"


def refusal(values: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as refused:
        from_environment(values)
    return str(refused.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"K2_BOOTSTRP": "x"}, "K2_BOOTSTRP: there is no such setting: did you mean K2_BOOTSTRAP?"),
        ({"K2_LAKE_COMMIT_INTERVAL": "5"}, "did you mean K2_LAKE_COMMIT_INTERVAL_S?"),
        ({"K2_ZZZZZZZZZ": ""}, "K2_ZZZZZZZZZ: there is no such setting: see docs/ref"),
        ({"K2_NOWHERE_FILE": "/etc/hosts"}, "K2_NOWHERE_FILE: there is no such setting"),
        ({"K2_API_KEYS": "a", "K2_API_KEYS_FILE": "/etc/hosts"}, "K2_API_KEYS and K2_API_KEYS"),
        ({PROTOCOL: "TLS"}, f"{PROTOCOL}: expected PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
        ({PROTOCOL: "ssl"}, f"{PROTOCOL}: expected "),
        ({PROTOCOL: "SASL_SSL"}, "K2_KAFKA_SASL_USERNAME: expected a value"),
        ({PROTOCOL: "SASL_SSL", "K2_KAFKA_SASL_USERNAME": "me"}, "SASL_PASSWORD: expected"),
        ({PROTOCOL: "SASL_SSL", MECHANISM: "GSSAPI", **SASL}, f"{MECHANISM}: expected "),
        ({PROTOCOL: "SASL_SSL", MECHANISM: "OAUTHBEARER"}, "K2_KAFKA_OAUTH_TOKEN_FILE: expected"),
        ({"K2_KAFKA_CERT_FILE": "/etc/hosts"}, "K2_KAFKA_CERT_FILE: not used"),
        ({"K2_WEB_CERT_FILE": "/etc/hosts"}, "K2_WEB_KEY_FILE: expected a file"),
        ({"K2_API_KEYS_FILE": "/etc/hosts"}, "K2_API_KEYS_FILE: /etc/hosts: expected TOML"),
        ({PROTOCOL: "SASL_SSL", MECHANISM: "SCRAM-SHA-1", **SASL}, f"{MECHANISM}: expected "),
        ({MECHANISM: "PLAIN"}, f"{MECHANISM}: not used while {PROTOCOL} is PLAINTEXT"),
        (SASL, f"K2_KAFKA_SASL_USERNAME: not used while {PROTOCOL} is PLAINTEXT"),
        ({"K2_KAFKA_CA_FILE": "/etc/hosts"}, "K2_KAFKA_CA_FILE: not used"),
        ({PROTOCOL: "SSL", "K2_KAFKA_CA_FILE": "/etc/hosts"}, "K2_KAFKA_CA_FILE: expected certifi"),
        ({PROTOCOL: "SSL", "K2_KAFKA_CA_FILE": "/nowhere"}, "K2_KAFKA_CA_FILE: /nowhere cannot be"),
        ({PROTOCOL: "SSL", "K2_KAFKA_CA_FILE": "/etc"}, "K2_KAFKA_CA_FILE: "),
        ({"K2_BOOTSTRAP": "broker:abc"}, "K2_BOOTSTRAP: expected HOST:PORT"),
        ({"K2_BOOTSTRAP": "broker:70000"}, "K2_BOOTSTRAP: expected HOST:PORT"),
        ({"K2_BOOTSTRAP": "a:1,,b:2"}, "K2_BOOTSTRAP: expected HOST:PORT"),
        ({"K2_BOOTSTRAP": "kafka://a:1"}, "K2_BOOTSTRAP: expected HOST:PORT"),
        ({"K2_BOOTSTRAP": "::1:9092"}, "K2_BOOTSTRAP: expected HOST:PORT"),
        ({"K2_WEB_PORT": "65535", "K2_WORKER_ID": "1"}, "K2_WEB_PORT"),
        (
            {"K2_MEMORY_LIMIT_BYTES": "536870912", "K2_TAIL_MEMORY_BYTES": "536870912"},
            "K2_TAIL_MEMORY_BYTES: expected less than K2_MEMORY_LIMIT_BYTES=536870912",
        ),
        ({"K2_ROLE": "query", "K2_MAINTENANCE": "1"}, "K2_MAINTENANCE=1: not done with K2_ROLE=qu"),
        ({"K2_ROLE": "work", "K2_STREAMS": "quotes"}, "K2_STREAMS=quotes: not used with K2_ROLE="),
        ({"K2_CATALOG_REST_SIGV4": "1"}, "did you mean K2_CATALOG_REST_SIGV4_ENABLED?"),
        ({"K2_CATALOG_TOKN": "1"}, "K2_CATALOG_TOKN: pyiceberg reads no such property"),
        ({"K2_S3_ENDPONT": "1"}, "did you mean K2_S3_ENDPOINT?"),
        ({"K2_CATALOG_SSL": "/ca.pem"}, 'K2_CATALOG_PROPERTIES={"ssl": {...}}'),
        ({"K2_CATALOG_PROPERTIES": "[]"}, "K2_CATALOG_PROPERTIES: expected a JSON object"),
        ({"K2_CATALOG_PROPERTIES": '{"rest.sigv4": 1}'}, "did you mean 'rest.sigv4-enabled'?"),
        ({"K2_CATALOG_PROPERTIES": '{"ssl": "x"}'}, "'ssl': expected an object"),
        ({"K2_CATALOG_PROPERTIES": '{"token": null}'}, "'token': expected a text"),
        (
            {"K2_CATALOG_PROPERTIES": '{"token": "a"}', "K2_CATALOG_TOKEN": "b"},
            "K2_CATALOG_TOKEN: token is set twice",
        ),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_by_name(values, said):
    assert said in refusal(values)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("K2_COMMIT_EVERY_S", "K2_LAKE_COMMIT_INTERVAL_S"),
        ("K2_COMMIT_ROWS", "K2_LAKE_COMMIT_ROWS"),
        ("K2_DEDUP_IDS", "K2_DEDUP_EXPECTED_IDS"),
        ("K2_DEDUP_RATE", "K2_DEDUP_FALSE_POSITIVE_RATE"),
        ("K2_LAG_S_TRIGGERS", "K2_LAG_TRIGGERS_S?"),
        ("K2_LAG_TRIGGERS", "K2_LAG_TRIGGERS_S or K2_LAG_TRIGGERS_RECORDS?"),
        ("K2_MAX_RATE", "K2_MAX_RATE_PER_S"),
        ("K2_MEMORY_LIMIT", "K2_MEMORY_LIMIT_BYTES"),
        ("K2_MEMORY_TRIGGERS", "K2_MEMORY_TRIGGERS_SHARE"),
        ("K2_QUERY_MEMORY", "K2_QUERY_MEMORY_BYTES"),
        ("K2_RATE_LIMIT", "K2_RATE_LIMIT_PER_S"),
        ("K2_TAIL_DISK", "K2_TAIL_DISK_LIMIT"),
        ("K2_TAIL_MEMORY", "K2_TAIL_MEMORY_BYTES"),
    ],
)
def test_a_setting_under_its_former_name_is_told_the_present_one(old, new):
    assert f"{old}: there is no such setting: did you mean {new}" in refusal({old: "1"})


def test_the_shortest_interval_of_checkpoints_is_not_above_the_longest():
    found = refusal({"K2_CHECKPOINT_SHORTEST_S": "0.5", "K2_CHECKPOINT_LONGEST_S": "0.4"})
    assert "expected at most K2_CHECKPOINT_LONGEST_S=0.4, found 0.5" in found


def test_all_that_is_wrong_is_told_at_once():
    told = refusal({"K2_PARTITIONS": "x", "K2_WAREHUSE": "y", PROTOCOL: "TLS", "K2_WEB_HOST": "::"})
    named = {line.partition(":")[0].partition("=")[0] for line in told.splitlines()}
    assert named == {"K2_WEB_HOST", PROTOCOL, "K2_PARTITIONS", "K2_WAREHUSE"}


def test_what_can_work_is_taken(tmp_path):
    kafka = from_environment({PROTOCOL: "SASL_SSL", MECHANISM: "SCRAM-SHA-512", **SASL}).kafka
    assert (kafka.security_protocol, kafka.sasl_username) == ("SASL_SSL", "me")
    for addresses in ("a:1,b:2", "a", "[::1]:9092", "[::1]", "a:1, b:2", "kafka-0.ns.svc:9092"):
        assert from_environment({"K2_BOOTSTRAP": addresses}).kafka.bootstrap == addresses


@given(st.sampled_from(sorted(properties.CATALOG + properties.STORES)))
def test_every_property_of_pyiceberg_can_be_set_by_both_ways(name):
    is_object = name in properties.OBJECTS
    value = '{"type": "x"}' if is_object else '"x"'
    found = from_environment({"K2_CATALOG_PROPERTIES": f'{{"{name}": {value}}}'})
    assert found.lake.properties[name] == ({"type": "x"} if is_object else "x")
    if not is_object:
        for flat in (properties.flat(name), name.upper().replace(".", "__").replace("-", "_")):
            assert from_environment({f"K2_CATALOG_{flat}": "x"}).lake.properties[name] == "x"
    if name.startswith("s3."):
        setting = "K2_S3_" + properties.flat(name).removeprefix("S3_")
        assert from_environment({setting: "x"}).lake.properties[name] == "x"


def test_names_are_unambiguous_and_headers_pass():
    assert len(properties.BY_FLAT_NAME) == len(properties.CATALOG + properties.STORES)
    given = '{"header.X_y": "b", "hdfs.port": 8, "s3.anonymous": true}'
    found = from_environment(
        {"K2_CATALOG_HEADER_X_TENANT": "a", "K2_CATALOG_PROPERTIES": given}
    ).lake.properties
    assert found == {
        "header.x-tenant": "a", "header.X_y": "b", "hdfs.port": "8", "s3.anonymous": "true",
    }  # fmt: skip


def test_the_properties_are_those_of_pyiceberg():
    """Each is named in its source, and no name of a store or of REST is left out."""
    import pyiceberg  # noqa: PLC0415 - its source is read

    source = "".join(
        (Path(pyiceberg.__file__).parent / file).read_text()
        for file in (
            "io/__init__.py", "catalog/__init__.py", "catalog/rest/__init__.py", "catalog/sql.py",
        )
    )  # fmt: skip
    named = set(re.findall(r'"([a-z0-9]+[a-z0-9._-]*)"', source))
    listed = set(properties.CATALOG + properties.STORES)
    assert listed <= named
    stores = {name for name in named if re.match(r"(s3|adls|gcs|hdfs|hf|client|rest)[.]", name)}
    assert stores <= listed


def test_every_name_in_this_repository_is_known():
    """What tests, tools and documents set must not end a worker."""
    known = {one.variable for one in declared()}
    folders = ["k2_streams", "topologies", "bench", "faults", "deploy", "docs"]
    files = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.is_file()]
    files += [ROOT / "Makefile", ROOT / "README.md", *(ROOT / "tests").glob("*.py")]
    for folder in ("integration", "property", "mutants", "simulation"):
        files += (ROOT / "tests" / folder).rglob("*.py")
    families = ("K2_CATALOG_", "K2_S3_")
    for file in files:
        if file.suffix in {".py", ".md", ".sh", ".toml", ".yaml", ".yml", ""}:
            for name in set(re.findall(r"\bK2_[A-Z0-9_]*[A-Z0-9]\b", file.read_text())):
                known_name = {name, name.removesuffix("_FILE")} & known
                assert known_name or name.startswith(families), (file, name)


@pytest.mark.parametrize(
    "command",
    [
        ["up"], ["produce", "--messages", "1"], ["changelog", "sequence"],
    ],
)  # fmt: skip
def test_commands_end_with_2_and_one_line(command, tmp_path, monkeypatch):
    monkeypatch.setenv("K2_KAFKA_SECURITY_PROTOCOL", "TLS")
    monkeypatch.setenv("K2_DATA_DIR", str(tmp_path))
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert done.output.startswith("Error: K2_KAFKA_SECURITY_PROTOCOL: expected ")
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("K2_BOOTSTRAP", "x:abc", "K2_BOOTSTRAP: expected HOST:PORT"),
        (
            "K2_INSTRUMENTS_FILE",
            "/nowhere.csv",
            "K2_INSTRUMENTS_FILE: /nowhere.csv: cannot be read",
        ),
        (
            "K2_CONDITIONS_FILE",
            "/nowhere.csv",
            "K2_CONDITIONS_FILE: /nowhere.csv: cannot be read",
        ),
        (
            "K2_CALENDARS",
            "NYSE=NEWYORK",
            "K2_CALENDARS: expected a calendar of exchange-calendars, as XASX or XNYS, found",
        ),
        (
            "K2_CALENDARS",
            ",".join(f"E{number}=C{number}" for number in range(17)),
            "K2_CALENDARS: expected 16 calendars at most, found 17",
        ),
    ],
)
def test_a_worker_ends_with_2_and_one_line(tmp_path, name, value, said):
    environment = {"PATH": "/usr/bin:/bin", "K2_DATA_DIR": str(tmp_path), name: value}
    done = forked.run_text("import topologies.trades", environment, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"k2: {said}")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def certificate(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",  # noqa: S607 - any will do
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


@pytest.fixture
def listener():
    """Answers each connection as `answer` says; its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(30)

    def start(answer) -> str:
        def serve():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        return f"127.0.0.1:{listening.getsockname()[1]}"

    yield start
    listening.close()


def test_tls_against_a_port_without_it_says_so(listener):
    address = listener(lambda connection: connection.recv(1))  # as Kafka does: it closes
    problem = tls_problem(KafkaConfig(address, security_protocol="SSL"))
    assert f"TLS failed at {address}: " in problem
    assert "set K2_KAFKA_SECURITY_PROTOCOL to PLAINTEXT" in problem
    problem = tls_problem(KafkaConfig(address, security_protocol="SASL_SSL"))
    assert "set K2_KAFKA_SECURITY_PROTOCOL to SASL_PLAINTEXT" in problem
    assert tls_problem(KafkaConfig(address)) is None


def test_a_port_with_tls_says_so_and_so_does_a_certificate_that_is_not_trusted(
    listener, certificate
):
    key, cert = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def shake(connection):
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            return

    address = listener(shake)
    assert "speaks TLS" in tls_problem(KafkaConfig(address))
    assert "set it to SASL_SSL" in tls_problem(KafkaConfig(address, "SASL_PLAINTEXT"))
    problem = tls_problem(KafkaConfig(address, "SSL"))
    assert "not trusted" in problem
    assert "K2_KAFKA_CA_FILE" in problem
    assert tls_problem(KafkaConfig(address, "SSL", ca_file=str(cert))) is None


def test_nobody_there_is_no_matter_of_tls():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    for protocol in ("PLAINTEXT", "SSL"):
        assert tls_problem(KafkaConfig(address, protocol)) is None
