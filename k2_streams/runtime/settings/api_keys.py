"""API keys from their file: TOML, one table per key.

    [[key]]
    name = "research"                  # in logs
    hash = "sha256:9f86d081884c7d65..."
    exchanges = ["XASX"]               # left out: all
    relations = ["trades", "gaps"]     # left out: all
    rate = 20                          # requests per second; left out: K2_RATE_LIMIT_PER_S

`k2 keys new` makes a key and prints its table.
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from k2_streams.core.query.entitlement import Entitlement
from k2_streams.core.struct_types import prepare
from k2_streams.runtime.settings.environment import Environment
from k2_streams.runtime.settings.text_files import ENCODING
from k2_streams.web.http.api_keys import ApiKey

#: A thousand keys of 20 exchanges and relations each.
MAX_BYTES = 1 << 20
_KEYS = "K2_API_KEYS"
FILE = f"{_KEYS}_FILE"
#: None of them is in a line of keys by comma.
_OF_TOML = frozenset('\n=[{"#')
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")


class ApiKeysError(ValueError):
    """The file cannot be used: fix what the text names."""


class ApiKeyTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key as the file has it."""

    name: str
    hash: str
    exchanges: list[str] | None = None
    relations: list[str] | None = None
    rate: float | None = None


class _ApiKeyTables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: list[ApiKeyTable]


prepare(_ApiKeyTables)


def read_keys(env: Environment) -> dict[str, Any]:
    """The fields `api_keys` and `keys_file`; what cannot be used is refused.

    A file of one line holds keys by comma, as any setting may be in a file; it is read once. A line
    with a character of TOML is TOML: a broken table is never taken for a key. A file without a key
    is refused: whoever names one wants requests to carry keys.
    """
    file = env.file_of(_KEYS)
    if file is None:
        return {"api_keys": _by_comma(env.text(_KEYS) or ""), "keys_file": None}
    text = env.file_text(_KEYS)
    if text is None:  # refused already
        return {"api_keys": (), "keys_file": None}
    path = Path(file).absolute()
    if _OF_TOML.isdisjoint(text):
        if not text.replace(",", "").strip():
            env.refuse(f"{FILE}: {path}: expected at least one key, found none")
        return {"api_keys": _by_comma(text), "keys_file": None}
    try:
        parse(text)
    except ApiKeysError as error:
        env.refuse(f"{FILE}: {path}: {error}")
    return {"api_keys": (), "keys_file": path}


def _by_comma(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def load(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a file.

    Raises:
        ApiKeysError: it cannot be read, or is not as described above.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ApiKeysError(f"expected at most {MAX_BYTES} bytes")
        return parse(path.read_text(ENCODING))
    except OSError as error:
        raise ApiKeysError(f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ApiKeysError(f"expected UTF-8: {error}") from error


def parse(text: str) -> tuple[ApiKey, ...]:
    """The keys of a file's text.

    Raises:
        ApiKeysError: it is not as described above.
    """
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of a number or a nesting without end
        raise ApiKeysError(f"expected TOML: {error}") from error
    try:
        tables = msgspec.convert(found, _ApiKeyTables).key
    except msgspec.ValidationError as error:
        raise ApiKeysError(f"expected [[key]] tables: {error}") from error
    if not tables:
        raise ApiKeysError("expected at least one [[key]] table")
    keys = tuple(_key(table) for table in tables)
    for what, values in (
        ("name", [one.name for one in keys]),
        ("hash", [one.digest for one in keys]),
    ):
        if len(set(values)) < len(values):
            raise ApiKeysError(f"two keys have the same {what}")
    return keys


def table_of(name: str, digest: bytes, **limits: Any) -> str:
    """The table of a key, as `parse` reads it.

    Args:
        name: of the key.
        digest: of its text.
        limits: exchanges, relations and rate; empty or None: not limited.

    Raises:
        ApiKeysError: one of them cannot be used.
    """
    values = {"name": name, "hash": f"sha256:{digest.hex()}", **limits}
    lines = [f"{field} = {_toml(value)}" for field, value in values.items() if value]
    text = "\n".join(["[[key]]", *lines, ""])
    parse(text)
    return text


def _toml(value: str | float | Sequence[str]) -> str:
    """A value in TOML, whose texts and lists are those of JSON."""
    return msgspec.json.encode(value).decode()


def _key(table: ApiKeyTable) -> ApiKey:
    if not _NAME.fullmatch(table.name):
        raise ApiKeysError(f"name {table.name!r}: expected 1 to 64 of A-Z a-z 0-9 . _ -")
    found = _HASH.fullmatch(table.hash)
    if found is None:
        raise ApiKeysError(f"key {table.name}: hash: expected sha256: and 64 hexadecimal digits")
    if table.rate is not None and not 0 < table.rate <= 1e6:
        raise ApiKeysError(f"key {table.name}: rate: expected above 0 and up to 1000000")
    return ApiKey(
        name=table.name,
        digest=bytes.fromhex(found[1]),
        entitlement=Entitlement(
            _names(table, "exchanges", table.exchanges), _names(table, "relations", table.relations)
        ),
        rate_per_s=table.rate,
    )


def _names(table: ApiKeyTable, field: str, names: Iterable[str] | None) -> frozenset[str] | None:
    if names is None:
        return None
    found = frozenset(names)
    if not found or not all(found):
        raise ApiKeysError(
            f"key {table.name}: {field}: expected names; leave it out if it may read all of them"
        )
    return found
