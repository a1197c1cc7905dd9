"""Security settings that cannot work: refused by name, before anything connects or listens."""

from collections.abc import Iterator
from pathlib import Path

from k2_streams.certificates import TlsFiles
from k2_streams.kafka.client import OAUTHBEARER, read_token
from k2_streams.runtime.settings.groups import WorkerGroups

_PROTOCOL = "K2_KAFKA_SECURITY_PROTOCOL"
_MECHANISM = "K2_KAFKA_SASL_MECHANISM"
_TOKEN = "K2_KAFKA_OAUTH_TOKEN_FILE"  # noqa: S105 - a name


def login_conflicts(settings: WorkerGroups) -> Iterator[str]:
    """A line for each setting of a login to Kafka that is missing, unused or unusable."""
    protocol, mechanism = settings.kafka_security_protocol, settings.kafka_sasl_mechanism
    if not protocol.startswith("SASL"):
        # A password alone tells nobody that a login was meant: secrets may be mounted everywhere.
        for field in ("kafka_sasl_username", "kafka_sasl_mechanism", "kafka_oauth_token_file"):
            if field in settings.model_fields_set:
                yield (
                    f"K2_{field.upper()}: not used while {_PROTOCOL} is {protocol}: set that to "
                    "SASL_SSL or SASL_PLAINTEXT, or remove it"
                )
    elif mechanism == OAUTHBEARER:
        yield from _token(settings.kafka_oauth_token_file)
        if settings.kafka_sasl_username is not None:
            yield f"K2_KAFKA_SASL_USERNAME: not used while {_MECHANISM} is {mechanism}: remove it"
    else:
        needed = {
            "K2_KAFKA_SASL_USERNAME": settings.kafka_sasl_username,
            "K2_KAFKA_SASL_PASSWORD": settings.kafka_sasl_password,
        }
        for name, value in needed.items():
            if not value:
                yield f"{name}: expected a value, as {_PROTOCOL} is {protocol}, found none: set it"
        if settings.kafka_oauth_token_file is not None:
            yield (
                f"{_TOKEN}: not used while {_MECHANISM} is {mechanism}: set that to {OAUTHBEARER}, "
                "or remove it"
            )


def _token(file: str | None) -> Iterator[str]:
    if file is None:
        yield f"{_TOKEN}: expected a file, as {_MECHANISM} is {OAUTHBEARER}, found none: set it"
        return
    try:
        read_token(Path(file))
    except OSError as error:
        yield f"{_TOKEN}: {file} cannot be read: {error}"
    except ValueError as error:  # also of bytes that are no text
        yield f"{_TOKEN}: expected a file that holds one token: {error}"


def tls_conflicts(settings: WorkerGroups) -> Iterator[str]:
    """A line for each certificate file that is missing, unused or unusable."""
    kafka = TlsFiles(settings.kafka_ca_file, settings.kafka_cert_file, settings.kafka_key_file)
    if settings.kafka_security_protocol not in {"SSL", "SASL_SSL"}:
        for name in ("ca_file", "cert_file", "key_file"):
            if getattr(kafka, name) is not None:
                yield (
                    f"K2_KAFKA_{name.upper()}: not used while {_PROTOCOL} is "
                    f"{settings.kafka_security_protocol}: set that to SSL or SASL_SSL, or remove it"
                )
    yield from _files("K2_KAFKA_", kafka)
    yield from _files("K2_WEB_", TlsFiles(None, settings.web_cert_file, settings.web_key_file))


def _files(prefix: str, files: TlsFiles) -> Iterator[str]:
    """Of each file that cannot be used, and of a certificate or a key without the other."""
    for name, other in (("CERT_FILE", "KEY_FILE"), ("KEY_FILE", "CERT_FILE")):
        if getattr(files, name.lower()) is None and getattr(files, other.lower()) is not None:
            yield f"{prefix}{name}: expected a file, as {prefix}{other} is set, found none: set it"
    for name, problem in files.problems():
        yield f"{prefix}{name.upper()}: {problem}"
