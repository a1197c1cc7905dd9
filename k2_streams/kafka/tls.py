"""Why a broker does not answer: TLS on one side only, a certificate, or a login that it refuses.

aiokafka tells of none of it: it says that it could not connect. Who could not connect asks here.
"""

import asyncio
import contextlib
import socket
import ssl
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, UnsupportedSaslMechanismError
from aiokafka.protocol.metadata import MetadataRequest

from k2_streams.certificates import client_context
from k2_streams.kafka.client import OAUTHBEARER, KafkaConfig

DEFAULT_PORT = 9092
_TIMEOUT_S = 3.0
#: With TLS 1.3 a server looks at the client's certificate when the handshake is over; one that
#: accepts it says nothing.
_REFUSED_WITHIN_S = 1.0
_SETTING = "K2_KAFKA_SECURITY_PROTOCOL"


class BrokerSecurityError(ConnectionError):
    """A broker is there and does not let us in: the text names the setting to change."""


async def security_problem(config: KafkaConfig) -> str | None:
    """What is wrong with TLS or the login; None: nothing, or nobody is there."""
    problem = await asyncio.to_thread(tls_problem, config)
    if problem is None and config.uses_login:
        return await login_problem(config)
    return problem


def tls_problem(config: KafkaConfig) -> str | None:
    """What is wrong with TLS at one of the cluster's addresses; None: nothing, or nobody is there.

    Blocks for up to 4 s per address.
    """
    for address in config.bootstrap.split(","):
        host, port = _parts(address)
        try:
            connection = socket.create_connection((host, port), _TIMEOUT_S)
        except OSError:
            continue  # nobody is there: not a matter of TLS
        with connection:
            problem = _of_handshake(connection, host, config)
        if config.uses_tls and problem:
            return f"TLS failed at {address}: {problem}"
        if not config.uses_tls and problem is None:
            protocol = "SASL_SSL" if config.uses_login else "SSL"
            return (
                f"{address} speaks TLS and {_SETTING} is {config.security_protocol}: "
                f"set it to {protocol}"
            )
    return None


async def login_problem(config: KafkaConfig) -> str | None:
    """Why the login fails at one of the cluster's addresses; None: it does not, or nobody is there.

    Takes up to 3 s per address.
    """
    for address in config.bootstrap.split(","):
        host, port = _parts(address)
        timeout_ms = int(_TIMEOUT_S * 1_000)
        try:
            connection = await create_conn(
                host, port, request_timeout_ms=timeout_ms, **config.security_options()
            )
        except UnsupportedSaslMechanismError as error:
            mechanism = config.sasl_mechanism
            return f"{address} offers no {mechanism} ({error}): set K2_KAFKA_SASL_MECHANISM"
        except KafkaError as error:
            return f"{address} refuses the login: {error}: check {_secret(config)}"
        except (OSError, TimeoutError, ValueError) as error:
            if isinstance(error, ConnectionRefusedError):
                continue
            return f"the login at {address} failed: {error!r}: check {_secret(config)}"
        with contextlib.closing(connection):
            # A token that is refused is answered as if it was accepted; then the broker closes.
            if config.sasl_mechanism == OAUTHBEARER and not await _answers(connection):
                return f"{address} refuses the token: check {_secret(config)}"
    return None


async def _answers(connection: Any) -> bool:
    try:
        answer = await connection.send(MetadataRequest([]))
    except (KafkaError, OSError, TimeoutError):
        return False
    return bool(answer.brokers)  # a broker that refuses names none


def _secret(config: KafkaConfig) -> str:
    if config.sasl_mechanism == OAUTHBEARER:
        return "K2_KAFKA_OAUTH_TOKEN_FILE"
    return "K2_KAFKA_SASL_USERNAME and K2_KAFKA_SASL_PASSWORD"


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.strip().rpartition(":")
    if not host or not port.isdigit():
        host, port = address.strip(), str(DEFAULT_PORT)
    return host.strip("[]"), int(port)


def _of_handshake(connection: socket.socket, host: str, config: KafkaConfig) -> str | None:
    """None: the handshake succeeds."""
    if config.uses_tls:
        context = client_context(config.tls_files).latest()
    else:  # only whether there is TLS at all
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        with context.wrap_socket(connection, server_hostname=host) as wrapped:
            return _of_certificate(wrapped, config) if config.uses_tls else None
    except ssl.SSLCertVerificationError as error:
        return (
            f"its certificate is not trusted ({error.verify_message}): set K2_KAFKA_CA_FILE to the "
            "certificate of its authority"
        )
    except OSError as error:
        without = config.security_protocol.replace("SASL_SSL", "SASL_PLAINTEXT")
        return (
            f"{error}: if the port is one without TLS, set {_SETTING} to "
            f"{without.replace('SSL', 'PLAINTEXT')}"
        )


def _of_certificate(connected: ssl.SSLSocket, config: KafkaConfig) -> str | None:
    """Whether the broker refuses this side's certificate, or misses one."""
    connected.settimeout(_REFUSED_WITHIN_S)
    try:
        connected.recv(1)
    except ssl.SSLError as error:
        if "alert" not in str(error):
            return None
        if config.cert_file is None:
            return f"{error}: set K2_KAFKA_CERT_FILE and K2_KAFKA_KEY_FILE"
        return f"the broker refuses the certificate in {config.cert_file} ({error})"
    except OSError:  # it waits for a request, or closed
        return None
    return None
