"""A broker with TLS, logins and ACLs: every way in, with the ACLs of the guide and no more."""

import asyncio
import base64
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest
from conftest import eventually  # type: ignore[import-not-found]
from cryptography.hazmat.primitives import serialization

import topologies.trades
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.types import TopicPartition
from k2_streams.kafka.acls import Acl, Resource
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.log_reader import LogReader
from k2_streams.kafka.tls import BrokerSecurityError
from k2_streams.kafka.topics import NotPermittedError, TopicAdmin, ensure_topics
from k2_streams.kafka.transactions import OutputRecord, TransactionalProducer
from k2_streams.runtime.acls import acls_of
from k2_streams.runtime.settings.worker import from_environment
from k2_streams.runtime.topics import topics_of
from k2_streams.testing.local.broker import LocalBroker
from k2_streams.testing.local.broker_files import SecuredListeners
from k2_streams.testing.local.installed import java_program
from k2_streams.testing.local.loopback import free_ports
from k2_streams.testing.local.workers import LocalWorker, WorkerError

pytestmark = pytest.mark.integration

USER, PASSWORD = "k2", "k2-secret"
PRINCIPAL = f"User:{USER}"
RESOURCES = {Resource.TOPIC: 2, Resource.GROUP: 3, Resource.TRANSACTIONAL_ID: 5}
LITERAL, PREFIXED, ALLOW = 3, 4, 3
TOPOLOGY = topologies.trades.app.topology
SETTINGS = from_environment({"K2_PARTITIONS": "1"})
NEEDED = acls_of(TOPOLOGY, SETTINGS)
SPECS = topics_of(TOPOLOGY, SETTINGS)
LOG = TRADES_INPUT.stream.log


def token(subject: str) -> str:
    """An unsecured JWT, as Kafka's own validator takes it in tests."""

    def part(value: dict) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    now_s = int(time.time())
    claims = {"sub": subject, "iat": now_s, "exp": now_s + 3_600}
    return f"{part({'alg': 'none'})}.{part(claims)}."


@dataclass
class Secured:
    """A broker, and every way to be its user `k2`."""

    plain: str
    ports: dict[str, int]
    folder: Path

    def config(self, mode: str) -> KafkaConfig:
        environment = {**self.settings(mode), "K2_BOOTSTRAP": self.address(mode)}
        return from_environment(environment).kafka

    def address(self, mode: str) -> str:
        return f"127.0.0.1:{self.ports['SSL' if mode == 'mtls' else 'SASL_SSL']}"

    def settings(self, mode: str) -> dict[str, str]:
        """The environment of a worker."""
        tls = {"K2_KAFKA_CA_FILE": str(self.folder / "ca.pem")}
        if mode == "mtls":
            return tls | {
                "K2_KAFKA_SECURITY_PROTOCOL": "SSL",
                "K2_KAFKA_CERT_FILE": str(self.folder / "client.pem"),
                "K2_KAFKA_KEY_FILE": str(self.folder / "client.key"),
            }
        login = tls | {"K2_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "K2_KAFKA_SASL_MECHANISM": mode}
        if mode == "OAUTHBEARER":
            return login | {"K2_KAFKA_OAUTH_TOKEN_FILE": str(self.folder / "token")}
        return login | {"K2_KAFKA_SASL_USERNAME": USER, "K2_KAFKA_SASL_PASSWORD": PASSWORD}

    async def permit(self, acls: list[Acl]) -> None:
        await self._each(CreateAclsRequest, acls)

    async def forbid(self, acls: list[Acl]) -> None:
        await self._each(DeleteAclsRequest, acls)

    async def _each(self, request, acls: list[Acl]) -> None:
        async with TopicAdmin(KafkaConfig(self.plain)) as admin:
            for acl in acls:
                pattern = PREFIXED if acl.is_prefix else LITERAL
                for operation in acl.operations:
                    answer = await admin._admin._send_request(
                        request(RESOURCES[acl.resource], acl.name, pattern, PRINCIPAL, "*",
                                operation.value, ALLOW)
                    )  # fmt: skip
                    assert "error_code=0" in repr(answer), answer


def properties(folder: Path) -> dict[str, str]:
    scram, oauth = (f"org.apache.kafka.common.security.{one}" for one in (
        "scram.ScramLoginModule", "oauthbearer.OAuthBearerLoginModule",
    ))  # fmt: skip
    oauth += " required unsecuredLoginStringClaim_sub=broker;"
    login = "listener.name.sasl_ssl"
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "broker.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "ca.pem"),
        "listener.name.ssl.ssl.client.auth": "required",
        "listener.name.ssl.ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/",
        f"{login}.sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        f"{login}.scram-sha-256.sasl.jaas.config": f"{scram} required;",
        f"{login}.scram-sha-512.sasl.jaas.config": f"{scram} required;",
        f"{login}.oauthbearer.sasl.jaas.config": oauth,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }


def write_certificates(folder: Path) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    client = authority.issue_cert("k2.example", common_name=USER, key_type=trustme.KeyType.ECDSA)
    client.private_key_pem.write_to_path(str(folder / "client.key"))
    client.cert_chain_pems[0].write_to_path(str(folder / "client.pem"))
    broker = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA)
    key = serialization.load_pem_private_key(broker.private_key_pem.bytes(), None)
    pkcs8 = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "broker.pem").write_bytes(pkcs8 + broker.cert_chain_pems[0].bytes())


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, kafka_jars: Path) -> Iterator[Secured]:
    """The broker, with the topics of the worker and the ACLs that it needs."""
    folder = tmp_path_factory.mktemp("secured")
    write_certificates(folder)
    (folder / "token").write_text(token(USER))
    ports = dict(zip(("SSL", "SASL_SSL"), free_ports(2), strict=True))
    users = tuple(f"SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]" for bits in (256, 512))
    broker = LocalBroker(
        folder / "kafka", kafka_jars, java=java_program(),
        secured=SecuredListeners(ports, properties(folder), users),
    )  # fmt: skip
    try:
        found = Secured(broker.start(), ports, folder)
        asyncio.run(ensure_topics(KafkaConfig(found.plain), SPECS))
        asyncio.run(found.permit(NEEDED))
        yield found
    finally:
        broker.stop()


MODES = ("mtls", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")


@pytest.mark.parametrize("mode", MODES)
async def test_every_client_gets_in_with_the_permitted_operations_alone(secured, mode):
    """What creates and watches topics, what writes a transaction, and what reads it."""
    config = secured.config(mode)
    topics = await ensure_topics(config, SPECS, acls=NEEDED, attempts=3)
    assert set(topics) == {spec.name for spec in SPECS}
    producer = TransactionalProducer(config, f"{SETTINGS.app_id}-{mode}", 0)
    await producer.start()
    try:
        raw = TopicPartition(TRADES_INPUT.raw, 0)
        sent = OutputRecord(TRADES_INPUT.dead_letter, b"key", mode.encode())
        found = await producer.commit([sent], [], SETTINGS.app_id, {raw: 0})
    finally:
        await producer.stop()
    (offset,) = found.offsets[TRADES_INPUT.dead_letter]
    async with LogReader(config) as reader:
        reader.assign({TopicPartition(TRADES_INPUT.dead_letter, 0): offset})
        chunks = []
        while not chunks:
            chunks = [chunk for chunk in await reader.poll() if chunk.records]
    assert chunks[0].records[0].value == mode.encode()


async def test_each_operation_that_is_taken_away_is_named(secured):
    """Of every ACL of the guide: none is more than what is needed."""
    config = secured.config("mtls")
    for acl in NEEDED:
        for operation in acl.operations:
            one = replace(acl, operations=(operation,))
            await secured.forbid([one])
            with pytest.raises(NotPermittedError) as refused:
                await ensure_topics(config, SPECS, acls=NEEDED, attempts=1)
            await secured.permit([one])
            found = re.fullmatch(
                r"Kafka does not permit (.*) on (\S+) (\S+): grant it, .*", str(refused.value)
            )
            # Without the right to describe it, a topic says nothing of the others.
            assert operation.word in found[1].split(", ")
            assert found[2] == acl.resource.value
            assert found[3] == (f"{acl.name}*" if acl.is_prefix else acl.name)
    await ensure_topics(config, SPECS, acls=NEEDED, attempts=1)


async def test_who_is_not_let_in_is_told_what_to_change(secured, tmp_path):
    stranger = trustme.CA().issue_cert("k2.example", common_name=USER)
    cert, key, wrong = tmp_path / "c.pem", tmp_path / "c.key", tmp_path / "token"
    stranger.cert_chain_pems[0].write_to_path(str(cert))
    stranger.private_key_pem.write_to_path(str(key))
    wrong.write_text("no.token.")
    mtls, scram = secured.config("mtls"), secured.config("SCRAM-SHA-512")
    oauth = secured.config("OAUTHBEARER")
    cases = [
        (replace(mtls, cert_file=None, key_file=None), "set K2_KAFKA_CERT_FILE"),
        (replace(mtls, cert_file=str(cert), key_file=str(key)), "refuses the certificate"),
        (replace(mtls, ca_file=None), "set K2_KAFKA_CA_FILE"),
        (replace(scram, sasl_password="x"), "SASL_USERNAME and K2_KAFKA_SASL_PASSWORD"),  # noqa: S106
        (replace(scram, sasl_mechanism="PLAIN"), "set K2_KAFKA_SASL_MECHANISM"),
        (replace(scram, security_protocol="SASL_PLAINTEXT"), "set it to SASL_SSL"),
        (replace(oauth, oauth_token_file=str(wrong)), "check K2_KAFKA_OAUTH_TOKEN_FILE"),
    ]
    for config, told in cases:
        with pytest.raises(BrokerSecurityError) as refused:
            await ensure_topics(config, SPECS, attempts=1)
        assert told in str(refused.value), config


def worker_of(secured: Secured, mode: str, folder: Path, **more: str) -> LocalWorker:
    settings = {**secured.settings(mode), "K2_PARTITIONS": "1", "K2_LAKE_COMMIT_INTERVAL_S": "1"}
    return LocalWorker(folder, secured.address(mode), settings={**settings, **more})


def _works(secured: Secured, mode: str, folder: Path) -> None:
    """A worker takes records, answers them, and has committed them to the lake."""
    before = asyncio.run(_end(secured))
    symbol = f"S{before}"
    with worker_of(secured, mode, folder) as worker:
        asyncio.run(_send(secured, symbol))
        eventually(lambda: len(_rows(worker, symbol)) == 10, what=worker.last_words)
        eventually(lambda: _is_in_lake(worker, symbol), what=worker.last_words)


def _rows(worker: LocalWorker, symbol: str) -> list:
    return [row for row in worker.get("/v1/trades")["data"] if row["symbol"] == symbol]


def _is_in_lake(worker: LocalWorker, symbol: str) -> bool:
    return worker.get(f"/v1/trades?symbol={symbol}")["meta"]["rows_tail"] == 0


async def _end(secured: Secured) -> int:
    async with LogReader(KafkaConfig(secured.plain)) as reader:
        at = TopicPartition(LOG, 0)
        return (await reader.end_offsets([at]))[at]


async def _send(secured: Secured, symbol: str) -> None:
    producer = KafkaConfig(secured.plain).patient_producer()
    await producer.start()
    try:
        for number in range(10):
            trade = {
                "exchange": "X", "symbol": symbol, "price": "1", "quantity": "1",
                "exchange_time_ns": time.time_ns(), "sequence": number,
            }  # fmt: skip
            value = json.dumps(trade).encode()
            await producer.send_and_wait(
                TRADES_INPUT.raw, value, f"X:{symbol}".encode(), partition=0
            )
    finally:
        await producer.stop()


def test_a_worker_runs_with_a_certificate_and_those_acls(secured, tmp_path):
    _works(secured, "mtls", tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES[1:])
def test_a_worker_runs_with_every_login_and_those_acls(secured, tmp_path, mode):
    _works(secured, mode, tmp_path)


@pytest.mark.long
def test_a_worker_that_may_not_write_its_log_ends_with_2_and_says_so(secured, tmp_path):
    (log,) = (acl for acl in NEEDED if acl.name == LOG)
    asyncio.run(secured.forbid([log]))
    try:
        worker = worker_of(secured, "mtls", tmp_path).start()
        with pytest.raises(WorkerError, match="worker ended with 2") as ended:
            worker.wait_ready()
        missing = "Kafka does not permit Read, Write, DescribeConfigs on topic k2.trades: "
        assert missing in str(ended.value)
    finally:
        asyncio.run(secured.permit([log]))
