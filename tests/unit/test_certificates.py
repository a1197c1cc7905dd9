"""TLS: what of its files is refused, what a server shows, and a renewal without a restart."""

import asyncio
import os
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import pytest
import trustme
from structlog.testing import capture_logs
from web_support import application

from k2_streams.certificates import FollowingContext, TlsFiles, client_context
from k2_streams.kafka.client import KafkaConfig, TokenFile
from k2_streams.kafka.tls import tls_problem
from k2_streams.runtime.settings.worker import SettingsError, from_environment
from k2_streams.web.http.connections import BoundedSite, ConnectionLimits, Connections
from k2_streams.web.server import new_runner

PROTOCOL = "K2_KAFKA_SECURITY_PROTOCOL"
MECHANISM = "K2_KAFKA_SASL_MECHANISM"


class Authority:
    """An authority, and certificates of it in files."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self._folder = folder
        self.ca_file = str(folder / "ca.pem")
        self._ca.cert_pem.write_to_path(self.ca_file)

    def issue(self, name: str = "server") -> tuple[str, str]:
        """A certificate for this machine: its file, and its key's; replaces an earlier one."""
        issued = self._ca.issue_cert("127.0.0.1", "localhost", key_type=trustme.KeyType.ECDSA)
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        for file, content in (
            (cert, b"".join(one.bytes() for one in issued.cert_chain_pems)),
            (key, issued.private_key_pem.bytes()),
        ):
            file.with_suffix(".new").write_bytes(content)
            file.with_suffix(".new").replace(file)
        return str(cert), str(key)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def refusal(**values: str) -> str:
    with pytest.raises(SettingsError) as refused:
        from_environment(values)
    return str(refused.value)


@pytest.mark.parametrize("prefix", ["K2_WEB", "K2_KAFKA"])
def test_files_that_cannot_be_used_are_refused_by_name(authority, tmp_path, prefix):
    cert, key = authority.issue()
    _, other = authority.issue("other")
    names = {f"{prefix}_CERT_FILE": cert, f"{prefix}_KEY_FILE": key}
    base = {PROTOCOL: "SSL"} if prefix == "K2_KAFKA" else {}
    from_environment({**base, **names})
    for name, without in zip(names, reversed(names), strict=True):
        assert f"{name}: expected a file, as {without} is set" in refusal(
            **base, **{without: names[without]}
        )
        for wrong in (str(tmp_path / "absent"), str(tmp_path)):
            assert f"{name}: {wrong} cannot be read" in refusal(**base, **{**names, name: wrong})
    told = refusal(**base, **{**names, f"{prefix}_KEY_FILE": other})
    assert f"{prefix}_KEY_FILE: expected a certificate and its key" in told
    told = refusal(**base, **{**names, f"{prefix}_CERT_FILE": "/etc/hosts"})
    assert f"{prefix}_CERT_FILE: expected a certificate and its key" in told


def test_a_token_is_looked_at_before_anything_starts(tmp_path):
    base = {PROTOCOL: "SASL_SSL", MECHANISM: "OAUTHBEARER"}
    name = "K2_KAFKA_OAUTH_TOKEN_FILE"
    assert f"{name}: expected a file, as {MECHANISM} is OAUTHBEARER" in refusal(**base)
    assert f"{name}: /nowhere cannot be read" in refusal(**base, **{name: "/nowhere"})
    file = tmp_path / "token"
    for wrong in ("", "two words", "\u00fc"):
        file.write_text(wrong)
        assert f"{name}: expected a file that holds one token" in refusal(
            **base, **{name: str(file)}
        )
    file.write_text("a.b.c\n")
    assert from_environment({**base, name: str(file)}).kafka.oauth_token_file == str(file)
    assert f"{name}: not used while {PROTOCOL} is PLAINTEXT" in refusal(**{name: str(file)})
    user = {"K2_KAFKA_SASL_USERNAME": "me", "K2_KAFKA_SASL_PASSWORD": "x"}
    assert f"{name}: not used while {MECHANISM} is PLAIN" in refusal(
        **{PROTOCOL: "SASL_SSL"}, **user, **{name: str(file)}
    )
    assert "K2_KAFKA_SASL_USERNAME: not used while" in refusal(**base, **user, **{name: str(file)})


async def test_a_token_is_read_again_at_each_login(tmp_path):
    file = tmp_path / "token"
    file.write_text("one\n")
    config = KafkaConfig(
        security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", oauth_token_file=str(file)
    )
    provider = config.options()["sasl_oauth_token_provider"]
    assert await provider.token() == "one"
    file.write_text("two\n")
    assert await provider.token() == "two"


@pytest.mark.parametrize("wrong", [b"", b"two words", b"\xff\xfe"])
async def test_a_file_without_a_token_is_an_error_after_which_the_login_is_tried_again(
    tmp_path, wrong
):
    file = tmp_path / "token"
    file.write_bytes(wrong)
    provider = TokenFile(str(file))
    with pytest.raises(OSError, match=r"no token in .*token"):
        await provider.token()
    file.write_text("one\n")
    assert await provider.token() == "one"


def test_all_clients_share_one_context_of_the_same_files(authority):
    config = KafkaConfig(security_protocol="SSL", ca_file=authority.ca_file)
    assert config.options()["ssl_context"] is config.options()["ssl_context"]
    assert client_context(config.tls_files) is config.options()["ssl_context"]


def shown_by(address: tuple[str, int], ca_file: str) -> int:
    """The serial number of the certificate that a server shows."""
    context = ssl.create_default_context(cafile=ca_file)
    with (
        socket.create_connection(address, 10) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as wrapped,
    ):
        return int(wrapped.getpeercert()["serialNumber"], 16)


class Served:
    """K2's web behind TLS."""

    def __init__(self, files: TlsFiles, limits: ConnectionLimits | None = None) -> None:
        self.connections = Connections(limits)
        self._runner = new_runner(application())
        self._context = FollowingContext(files, server_side=True)

    async def __aenter__(self):
        await self._runner.setup()
        tls = self._context
        self._site = BoundedSite(self._runner, "127.0.0.1", 0, self.connections, tls)
        await self._site.start()
        self.address = self._site._server.sockets[0].getsockname()
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)


async def test_a_renewed_certificate_is_shown_from_the_next_connection_on(authority):
    files = TlsFiles(None, *authority.issue())
    async with Served(files) as served:
        first = await asyncio.to_thread(shown_by, served.address, authority.ca_file)
        authority.issue()
        second = await asyncio.to_thread(shown_by, served.address, authority.ca_file)
        await asyncio.to_thread(Path(files.key_file).write_text, "no key")
        third = await asyncio.to_thread(shown_by, served.address, authority.ca_file)
    assert first != second
    assert third == second  # a file that cannot be used changes nothing


def test_files_that_failed_are_tried_again_and_the_same_error_is_logged_once(authority):
    files = TlsFiles(None, *authority.issue())
    context = FollowingContext(files, server_side=True)
    first, key_file = context.latest(), Path(files.key_file)
    good = key_file.read_bytes()
    stat = key_file.stat()
    with capture_logs() as logs:
        key_file.write_bytes(b"-" * len(good))
        os.utime(key_file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
        for _ in range(3):
            assert context.latest() is first
        # Mended in place: the stamp is the one of the file that failed.
        key_file.write_bytes(good)
        os.utime(key_file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
        mended = context.latest()
        assert mended is not first
        assert context.latest() is mended
    assert [one["event"] for one in logs] == ["certificates not read", "certificates read"]


async def test_requests_are_answered_over_tls_and_a_connection_without_it_is_not(authority):
    async with Served(TlsFiles(None, *authority.issue())) as served:
        host, port = served.address
        trusted = ssl.create_default_context(cafile=authority.ca_file)
        async with aiohttp.ClientSession() as session:
            for _ in range(2):  # the second one over the same connection
                url = f"https://{host}:{port}/v1/trades"
                async with session.get(url, ssl=trusted) as response:
                    assert response.status == 200
                    assert len((await response.json())["data"]) == 3
            assert len(served.connections) == 1
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"http://{host}:{port}/v1/trades")
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(url)
        await until(lambda: not len(served.connections))


async def test_a_handshake_that_never_comes_is_within_the_bounds_of_connections(authority):
    limits = ConnectionLimits(total=3, per_address=3)
    async with Served(TlsFiles(None, *authority.issue()), limits) as served:
        silent = [await asyncio.open_connection(*served.address) for _ in range(3)]
        await until(lambda: len(served.connections) == 3)
        # One that asks makes one that says nothing give way.
        await asyncio.to_thread(shown_by, served.address, authority.ca_file)
        assert served.connections.evicted == 1
        for _, writer in silent:
            writer.close()


def test_a_client_shows_its_renewed_certificate(authority):
    """What a broker sees: the certificate in the files when the connection is made."""
    files = TlsFiles(authority.ca_file, *authority.issue("client"))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca_file)
    server.load_cert_chain(*authority.issue("broker"))
    server.verify_mode = ssl.CERT_REQUIRED
    context = FollowingContext(files)

    def seen() -> str:
        here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(here, there, server_hostname="localhost")
        broker = server.wrap_bio(there, here, server_side=True)
        for _ in range(3):
            for side in (client, broker):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
        return broker.getpeercert()["serialNumber"]

    first = seen()
    assert seen() == first
    authority.issue("client")
    assert seen() != first


def test_a_broker_that_misses_a_certificate_or_refuses_it_is_told(authority, tmp_path):
    cert, key = authority.issue()
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    unknown = Authority(stranger).issue()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca_file)
    server.load_cert_chain(cert, key)
    server.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"

        def problem(*files: str) -> str | None:
            config = KafkaConfig(address, "SSL", authority.ca_file, "PLAIN", None, None, *files)
            return _beside(lambda: _accept(listening, server), lambda: tls_problem(config))

        assert "set K2_KAFKA_CERT_FILE and K2_KAFKA_KEY_FILE" in problem()
        assert f"the broker refuses the certificate in {unknown[0]}" in problem(*unknown)
        assert problem(cert, key) is None


def _accept(listening: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listening.accept()
    try:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.recv(1)
    except OSError:
        connection.close()


def _beside(other, work):
    """What `work` gives while `other` runs in a thread."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(other)
        found = work()
        running.result(10)
    return found
