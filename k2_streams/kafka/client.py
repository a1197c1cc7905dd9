"""How every client of K2 reaches the brokers: one frozen object, passed through unchanged.

It alone makes aiokafka's clients, so that address, TLS and login are the same for all of them, and
a simulated log needs no other seam.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient

from k2_streams.certificates import TlsFiles, client_context
from k2_streams.kafka import bounded_codecs, header_keys
from k2_streams.kafka.producer import Producer
from k2_streams.kafka.transaction_states import LastTransaction, last_transaction

#: The mechanism whose secret is a token; the others have a user name and a password.
OAUTHBEARER = "OAUTHBEARER"
_TLS = frozenset({"SSL", "SASL_SSL"})


class TokenFile(AbstractTokenProvider):  # type: ignore[misc] # aiokafka has no types
    """The bearer token as its file has it at each login: whoever renews it needs no restart."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    async def token(self) -> str:
        """The token.

        Raises:
            OSError: the file cannot be read, or holds no token. aiokafka tries again after this
                error alone; any other ends its task that keeps the metadata.
        """
        try:
            return await asyncio.to_thread(read_token, self._path)
        except ValueError as error:  # also of bytes that are no text
            raise OSError(f"no token in {self._path}: {error}") from error


def read_token(path: Path) -> str:
    """The token of a file, without the white space at its ends.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no token, or one that no login can carry.
    """
    token = path.read_text("utf-8").strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{path}: expected one token of printable ASCII characters")
    return token


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """Address and security of the cluster.

    `sasl_password` never appears in the object's text.
    """

    bootstrap: str = "127.0.0.1:9092"
    security_protocol: str = "PLAINTEXT"
    ca_file: str | None = None
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    cert_file: str | None = None
    key_file: str | None = None
    oauth_token_file: str | None = None

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol in _TLS

    @property
    def uses_login(self) -> bool:
        """Whether a connection begins with SASL."""
        return self.security_protocol.startswith("SASL")

    @property
    def tls_files(self) -> TlsFiles:
        """The files of this side of TLS."""
        return TlsFiles(self.ca_file, self.cert_file, self.key_file)

    def security_options(self) -> dict[str, Any]:
        """How a connection of aiokafka's is encrypted, and how it logs in.

        Raises:
            OSError: a certificate cannot be used.
        """
        options: dict[str, Any] = {"security_protocol": self.security_protocol}
        if self.uses_tls:
            options["ssl_context"] = client_context(self.tls_files)
        if self.uses_login:
            options["sasl_mechanism"] = self.sasl_mechanism
            if self.sasl_mechanism == OAUTHBEARER:
                options["sasl_oauth_token_provider"] = TokenFile(self.oauth_token_file or "")
            else:
                options["sasl_plain_username"] = self.sasl_username
                options["sasl_plain_password"] = self.sasl_password
        return options

    def options(self) -> dict[str, Any]:
        """The keyword arguments that all of aiokafka's clients share."""
        return {"bootstrap_servers": self.bootstrap, **self.security_options()}

    def producer(self, **options: Any) -> Producer:
        """A producer of this cluster, not started; its `stop` drops what waits."""
        return Producer(**self.options(), **options)

    def patient_producer(self, **options: Any) -> AIOKafkaProducer:
        """A producer of this cluster, not started; its `stop` first sends what waits."""
        return AIOKafkaProducer(**self.options(), **options)

    def consumer(self, **options: Any) -> AIOKafkaConsumer:
        """A consumer of this cluster, not started."""
        bounded_codecs.install()
        header_keys.install()
        return AIOKafkaConsumer(**self.options(), **options)

    def admin(self, **options: Any) -> AIOKafkaAdminClient:
        """A client for topics, groups and transactions, not started."""
        return AIOKafkaAdminClient(**self.options(), **options)

    async def last_transaction(self, transactional_id: str) -> LastTransaction:
        """What the coordinator last did with this id.

        Raises:
            KafkaError: it does not say.
        """
        return await last_transaction(self.admin(), transactional_id)
