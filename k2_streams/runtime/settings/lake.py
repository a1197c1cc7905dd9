"""Where the lake is: `K2_CATALOG_*` and `K2_S3_*` as pyiceberg's properties.

Every property can be set by a name (`K2_CATALOG_REST_SIGV4_ENABLED` is `rest.sigv4-enabled`) or in
`K2_CATALOG_PROPERTIES`, a JSON object of properties under their own names, which also takes those
whose values are objects (`ssl`, `auth`). What pyiceberg does not read is refused.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from k2_streams.lake import properties
from k2_streams.lake.config import LakeConfig
from k2_streams.runtime.settings.environment import Environment

_CATALOG, _S3 = "K2_CATALOG_", "K2_S3_"
_ANY_OBJECT = msgspec.json.Decoder(dict[str, Any])
_OBJECT = "K2_CATALOG_PROPERTIES"
#: Read by themselves, not passed through.
_OWN = frozenset({"K2_CATALOG_URI", _OBJECT})


def read_properties(env: Environment) -> dict[str, Any]:
    """The properties of catalog and object store, of both kinds of variables."""
    found = _from_object(env)
    for prefix, of in ((_CATALOG, ""), (_S3, "S3_")):
        for setting in env.names(prefix):
            if setting not in _OWN:
                _add(env, found, setting, of + setting.removeprefix(prefix))
    if "s3.endpoint" in found:
        # Stores other than Amazon's have none, and whoever signs a request names one.
        found.setdefault("s3.region", "us-east-1")
    return found


def lake_config(values: Mapping[str, Any]) -> LakeConfig:
    """From the fields of the settings: the catalog, the warehouse and the properties of both."""
    data_dir: Path = values["data_dir"]
    return LakeConfig(
        catalog_uri=values["catalog_uri"] or f"sqlite:///{data_dir / 'catalog.db'}",
        warehouse=values["warehouse"] or f"file://{data_dir / 'warehouse'}",
        properties=values["catalog_properties"],
    )


def _add(env: Environment, found: dict[str, Any], setting: str, flat_name: str) -> None:
    name = properties.property_named(flat_name)
    value = env.text(setting)
    if name is None:
        known = [*properties.BY_FLAT_NAME]
        near = difflib.get_close_matches(flat_name, known, 1)
        near_name = _setting_of(near[0]) if near else f"{_OBJECT} for a list of pyiceberg's names"
        env.refuse(f"{setting}: pyiceberg reads no such property: did you mean {near_name}?")
    elif name in properties.OBJECTS:
        env.refuse(f'{setting}: its value is an object: set {_OBJECT}={{"{name}": {{...}}}}')
    elif name in found:
        env.refuse(f"{setting}: {name} is set twice: remove it or the one in {_OBJECT}")
    elif value is not None:
        found[name] = value


def _setting_of(flat_name: str) -> str:
    return f"K2_{flat_name}" if flat_name.startswith("S3_") else f"{_CATALOG}{flat_name}"


def _from_object(env: Environment) -> dict[str, Any]:
    def parse(text: str) -> dict[str, Any]:
        return _ANY_OBJECT.decode(text)  # its errors are ValueErrors

    expected = 'a JSON object as {"rest.sigv4-enabled": "true"}'
    found: dict[str, Any] = {}
    # The text may hold secrets: it is not repeated.
    try:
        given = parse(env.text(_OBJECT) or "{}")
    except ValueError as error:
        env.refuse(f"{_OBJECT}: expected {expected}: {error}")
        return found
    for name, value in given.items():
        if not properties.is_known(name):
            near = difflib.get_close_matches(name, properties.CATALOG + properties.STORES, 1)
            advice = f": did you mean {near[0]!r}?" if near else ""
            env.refuse(f"{_OBJECT}: pyiceberg reads no property {name!r}{advice}")
        elif (name in properties.OBJECTS) != isinstance(value, dict):
            kind = "an object" if name in properties.OBJECTS else "a text, a number, true or false"
            env.refuse(f"{_OBJECT}: {name!r}: expected {kind}")
        elif isinstance(value, dict | str):
            found[name] = value
        elif isinstance(value, bool | int | float):
            found[name] = msgspec.json.encode(value).decode()
        else:
            env.refuse(f"{_OBJECT}: {name!r}: expected a text, a number, true or false")
    return found
