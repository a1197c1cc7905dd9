"""Why a broker does not answer: TLS on one side only, or a certificate that is not trusted.

aiokafka tells of neither: it says that it could not connect. Whoever could not connect asks here.
"""

import socket
import ssl

from k2_streams.kafka.client import KafkaConfig

_TIMEOUT_S = 3.0
_SETTING = "K2_KAFKA_SECURITY_PROTOCOL"


class BrokerSecurityError(ConnectionError):
    """A broker is there and TLS stands between: the text names the setting to change."""


def tls_problem(config: KafkaConfig) -> str | None:
    """What is wrong with TLS at one of the cluster's addresses; None: nothing, or nobody is there.

    Blocks for up to 3 s per address.
    """
    uses_tls = config.security_protocol in {"SSL", "SASL_SSL"}
    for address in config.bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            connection = socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_S)
        except (OSError, ValueError):
            continue  # nobody is there: not a matter of TLS
        with connection:
            problem = _of_handshake(connection, host.strip("[]"), config)
        if uses_tls and problem:
            return f"TLS failed at {address}: {problem}"
        if not uses_tls and problem is None:
            protocol = "SASL_SSL" if config.security_protocol.startswith("SASL") else "SSL"
            return (
                f"{address} speaks TLS and {_SETTING} is {config.security_protocol}: "
                f"set it to {protocol}"
            )
    return None


def _of_handshake(connection: socket.socket, host: str, config: KafkaConfig) -> str | None:
    """None: the handshake succeeds."""
    if config.security_protocol in {"SSL", "SASL_SSL"}:
        context = ssl.create_default_context(cafile=config.ca_file)
    else:  # only whether there is TLS at all
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        with context.wrap_socket(connection, server_hostname=host):
            return None
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
