"""Settings that are right by themselves and cannot work together."""

import ipaddress
import ssl
from collections.abc import Iterator

from k2_streams.runtime.settings.groups import WorkerGroups
from k2_streams.runtime.settings.parsing import LAST_PORT

_PROTOCOL = "K2_KAFKA_SECURITY_PROTOCOL"


def conflicts(settings: WorkerGroups) -> Iterator[str]:
    """A line for each: the settings, their values, the remedy."""
    yield from _web(settings)
    yield from _memory(settings)
    yield from _checkpoints(settings)
    yield from _sasl(settings)
    yield from _ca_file(settings)


def _web(settings: WorkerGroups) -> Iterator[str]:
    if not settings.api_keys and not _is_loopback(settings.web_host):
        yield (
            f"K2_WEB_HOST={settings.web_host} is not loopback: set K2_API_KEYS, "
            "or listen on 127.0.0.1"
        )
    port = settings.web_base_port + settings.worker_id
    if port > LAST_PORT:
        yield (
            f"K2_WEB_PORT + K2_WORKER_ID: expected {LAST_PORT} at most, found {port}: "
            "set a lower K2_WEB_PORT"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _memory(settings: WorkerGroups) -> Iterator[str]:
    """What is set of the memory's parts must fit into what is set of the whole."""
    limit_bytes = settings.memory_limit_bytes
    parts = {
        "tail_memory_bytes": ("K2_TAIL_MEMORY_BYTES", settings.tail_memory_bytes),
        "query_memory_bytes": ("K2_QUERY_MEMORY_BYTES", settings.query_memory_bytes or 0),
    }
    given = dict(parts[field] for field in parts if field in settings.model_fields_set)
    if limit_bytes and sum(given.values()) >= limit_bytes:
        yield (
            f"{' and '.join(given)}: expected less than K2_MEMORY_LIMIT_BYTES={limit_bytes} in "
            f"all, found {sum(given.values())}: raise the limit, or lower the rest"
        )


def _checkpoints(settings: WorkerGroups) -> Iterator[str]:
    shortest_s, longest_s = settings.checkpoint_shortest_s, settings.checkpoint_longest_s
    if shortest_s > longest_s:
        yield (
            f"K2_CHECKPOINT_SHORTEST_S: expected at most K2_CHECKPOINT_LONGEST_S={longest_s}, "
            f"found {shortest_s}: lower it, or raise the other"
        )


def _sasl(settings: WorkerGroups) -> Iterator[str]:
    protocol = settings.kafka_security_protocol
    if protocol.startswith("SASL"):
        needed = {
            "K2_KAFKA_SASL_USERNAME": settings.kafka_sasl_username,
            "K2_KAFKA_SASL_PASSWORD": settings.kafka_sasl_password,
        }
        for name, value in needed.items():
            if not value:
                yield f"{name}: expected a value, as {_PROTOCOL} is {protocol}, found none: set it"
        return
    # A password alone tells nobody that a login was meant: secrets may be mounted everywhere.
    for field in ("kafka_sasl_username", "kafka_sasl_mechanism"):
        if field in settings.model_fields_set:
            yield (
                f"K2_{field.upper()}: not used while {_PROTOCOL} is {protocol}: set that to "
                "SASL_SSL or SASL_PLAINTEXT, or remove it"
            )


def _ca_file(settings: WorkerGroups) -> Iterator[str]:
    file, protocol = settings.kafka_ca_file, settings.kafka_security_protocol
    if file is None:
        return
    if protocol not in {"SSL", "SASL_SSL"}:
        yield (
            f"K2_KAFKA_CA_FILE: not used while {_PROTOCOL} is {protocol}: set that to SSL or "
            "SASL_SSL, or remove it"
        )
    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError as error:
        yield f"K2_KAFKA_CA_FILE: expected certificates as PEM in {file}: {error}"
    except (OSError, ValueError) as error:
        yield f"K2_KAFKA_CA_FILE: {file} cannot be read: {error}"
