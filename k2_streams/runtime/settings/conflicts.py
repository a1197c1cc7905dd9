"""Settings that are right by themselves and cannot work together."""

import ipaddress
from collections.abc import Iterator

from k2_streams.runtime.settings.groups import WorkerGroups
from k2_streams.runtime.settings.parsing import LAST_PORT
from k2_streams.runtime.settings.security import login_conflicts, tls_conflicts
from k2_streams.runtime.tracing import EXTRA, is_installed


def conflicts(settings: WorkerGroups) -> Iterator[str]:
    """A line for each: the settings, their values, the remedy."""
    yield from _web(settings)
    yield from _role(settings)
    yield from _memory(settings)
    yield from _checkpoints(settings)
    yield from login_conflicts(settings)
    yield from tls_conflicts(settings)
    if settings.traces_endpoint is not None and not is_installed():
        yield f"K2_TRACES_ENDPOINT: needs {EXTRA}, which is not installed: install it, or remove it"


def _web(settings: WorkerGroups) -> Iterator[str]:
    has_keys = settings.api_keys or settings.keys_file
    if not has_keys and not _is_loopback(settings.web_host):
        yield (
            f"K2_WEB_HOST={settings.web_host} is not loopback: set K2_API_KEYS or "
            "K2_API_KEYS_FILE, or listen on 127.0.0.1"
        )
    port = settings.web_base_port + settings.worker_id
    if port > LAST_PORT:
        yield (
            f"K2_WEB_PORT + K2_WORKER_ID: expected {LAST_PORT} at most, found {port}: "
            "set a lower K2_WEB_PORT"
        )


def _role(settings: WorkerGroups) -> Iterator[str]:
    """What a process of this role does not do must not be asked of it."""
    if settings.role == "query" and settings.maintenance:
        yield (
            "K2_MAINTENANCE=1: not done with K2_ROLE=query, which owns no partition: set it on "
            "workers, and 0 here"
        )
    if settings.role == "work" and settings.streams:
        yield (
            f"K2_STREAMS={','.join(settings.streams)}: not used with K2_ROLE=work, which answers "
            "no query: remove it, or set K2_ROLE to all or query"
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
