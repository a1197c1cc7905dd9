"""Parameters declared as the fields of a struct: read from a query string, described in a schema.

A field's type and its `msgspec.Meta` hold kind, bounds, pattern, description and examples. What
JSON Schema cannot express stands in a `Rule` in the Meta's `extra`. The reader, the OpenAPI
document and the reference page all take it from here.
"""

import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from k2_streams.query.errors import InvalidParameter

#: The key of a `Rule` in `msgspec.Meta(extra=...)`.
RULE = "k2-rule"
#: Characters of a value that an error repeats: enough to recognise it, too few to flood a log.
SHOWN_CHARS = 64
#: Digits of a 64-bit integer; longer texts are not converted.
MAX_DIGITS = 19
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Rule:
    """What a type and a JSON schema cannot say of a parameter.

    Attributes:
        decode: makes the value of its text; a `ValueError` says what was expected.
        beside: the name of a parameter whose value is the second argument of `decode`.
        is_valid: whether a text is taken as it is.
        expected: what `is_valid` or the pattern wants, for people.
        separator: a parameter that may repeat takes several values in one text, separated by this.
    """

    decode: Callable[..., Any] | None = None
    beside: str | None = None
    is_valid: Callable[[str], bool] | None = None
    expected: str = ""
    separator: str | None = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a query string.

    Attributes:
        name: as the caller writes it.
        description: what it means.
        schema: JSON schema of its value, with bounds, examples and default.
        is_many: it may repeat; the value is the sorted tuple of the different values.
        is_required: it has no default.
        rule: of one value.
    """

    name: str
    description: str
    schema: dict[str, Any]
    is_many: bool
    is_required: bool
    rule: Rule

    def read(self, texts: Sequence[str], others: Mapping[str, Any]) -> Any:
        """The value of the texts given; `others` are the values of other parameters.

        Raises:
            InvalidParameter: with the name, what was expected and what was found.
        """
        if not self.is_many:
            if len(texts) > 1:
                raise InvalidParameter(self.name, f"expected once, found {len(texts)} times")
            return self._value(texts[0], self.schema, others)
        separator = self.rule.separator
        parts = [
            part for text in texts for part in (text.split(separator) if separator else [text])
        ]
        most = self.schema.get("maxItems", len(parts))
        if len(parts) > most:
            raise InvalidParameter(
                self.name, f"expected at most {most} of them, found {len(parts)}"
            )
        return tuple(sorted({self._value(part, self.schema["items"], others) for part in parts}))

    def _value(self, text: str, schema: Mapping[str, Any], others: Mapping[str, Any]) -> Any:
        rule = self.rule
        if rule.decode is not None:
            more = () if rule.beside is None else (others.get(rule.beside),)
            try:
                return rule.decode(text, *more)
            except ValueError as error:
                raise InvalidParameter(self.name, f"{error}, found {shown(text)}") from error
        value = _plain_value(text, schema)
        if value is None or not (rule.is_valid is None or rule.is_valid(text)):
            expected = rule.expected or expectation(schema)
            raise InvalidParameter(self.name, f"expected {expected}, found {shown(text)}")
        return value


class ParameterSet:
    """The parameters of an endpoint: the fields of some structs.

    Args:
        structs: whose fields are the parameters, in this order.
        without: fields that are not offered and keep their default.
    """

    def __init__(
        self, structs: Iterable[type[msgspec.Struct]], without: frozenset[str] = frozenset()
    ) -> None:
        found = (
            _parameter(field) for struct in structs for field in msgspec.structs.fields(struct)
        )
        self.parameters = tuple(one for one in found if one.name not in without)
        self._by_name = {one.name: one for one in self.parameters}
        assert len(self._by_name) == len(self.parameters), "a parameter is declared twice"  # noqa: S101

    def read(self, given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """The values by name of the parameters that were given.

        Raises:
            InvalidParameter: with the name of the first parameter that is wrong.
        """
        known = self._by_name
        for name in given:
            if name not in known:
                names = f"one of {', '.join(sorted(known))}" if known else "no parameter"
                raise InvalidParameter(name, f"unknown parameter; expected {names}")
        for one in self.parameters:
            if one.is_required and one.name not in given:
                raise InvalidParameter(one.name, f"required; expected {expectation(one.schema)}")
        values: dict[str, Any] = {}
        for name in sorted(given, key=lambda name: known[name].rule.beside is not None):
            values[name] = known[name].read(given[name], values)
        return values


def shown(text: str) -> str:
    """A caller's text in an error: quoted, escaped, and not longer than a line."""
    return repr(text) if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]!r}..."


def integer(text: str) -> int | None:
    """A plain integer of at most 19 ASCII digits, else None; minus zero is none."""
    digits = text.removeprefix("-")
    is_plain = digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS
    return int(text) if is_plain and text != "-0" else None


def expectation(schema: Mapping[str, Any]) -> str:
    """What a schema takes, for people."""
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    kind = schema.get("type", "string")
    if kind == "array":
        return expectation(schema["items"])
    least, most = (
        (schema.get("minimum"), schema.get("maximum"))
        if kind == "integer"
        else (schema.get("minLength"), schema.get("maxLength"))
    )
    bounds = {
        (False, False): "",
        (True, False): f"at least {least}",
        (False, True): f"at most {most}",
        (True, True): f"{least} to {most}",
    }[least is not None, most is not None]
    if kind == "integer":
        return "an integer" if not bounds else f"an integer, {bounds}"
    if kind == "boolean":
        return "true or false"
    text = "a text" if not bounds else f"a text of {bounds} characters"
    return f"{text} matching {schema['pattern']}" if "pattern" in schema else text


def _plain_value(text: str, schema: Mapping[str, Any]) -> Any:
    """The value of a text by its schema alone; None: it does not fit."""
    if "enum" in schema:
        return text if text in schema["enum"] else None
    match schema["type"]:
        case "integer":
            value = integer(text)
            least, most = schema.get("minimum"), schema.get("maximum")
            if value is None or (least is not None and value < least):
                return None
            return None if most is not None and value > most else value
        case "boolean":
            return _BOOLEANS.get(text)
        case _:
            least, most = schema.get("minLength", 0), schema.get("maxLength", len(text))
            fits = least <= len(text) <= most and _matches(schema.get("pattern", ""), text)
            return text if fits else None


def _matches(pattern: str, text: str) -> bool:
    """As JSON Schema has it: `$` is the end, where Python's also matches before a last newline."""
    if pattern.endswith("$"):
        pattern = pattern[:-1] + r"\Z"
    return re.search(pattern, text) is not None


def _parameter(field: "msgspec.structs.FieldInfo") -> Parameter:
    kind = _without_none(field.type)
    metas = _metas(kind)
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    is_many = get_origin(base) is tuple
    item_metas = _metas(get_args(base)[0]) if is_many else []
    extras = [meta.extra for meta in (*metas, *item_metas) if meta.extra is not None]
    rule = next((extra[RULE] for extra in extras if RULE in extra), Rule())
    schema: dict[str, Any]
    if rule.decode is not None and not is_many:  # the text's schema, not that of the value
        schema = {}
        for meta in metas:
            schema |= dict(meta.extra_json_schema or {})
            if meta.examples:
                schema["examples"] = list(meta.examples)
    else:
        schema = msgspec.json.schema(kind)
        schema.pop("description", None)
        _order_words(schema, base)
    default = field.default
    if default is not msgspec.NODEFAULT and default is not None and default != ():
        schema["default"] = default
    description = next((meta.description for meta in metas if meta.description), "")
    assert description, f"parameter {field.name} has no description"  # noqa: S101
    is_required = default is msgspec.NODEFAULT
    return Parameter(field.encode_name, description, schema, is_many, is_required, rule)


def _order_words(schema: dict[str, Any], base: Any) -> None:
    """Give the words of a `Literal` in the order in which they are declared."""
    if get_origin(base) is tuple:
        item = get_args(base)[0]
        _order_words(schema["items"], get_args(item)[0] if _metas(item) else item)
    elif get_origin(base) is Literal:
        schema["enum"] = list(get_args(base))
        schema["type"] = "string"


def _metas(kind: Any) -> list[msgspec.Meta]:
    if get_origin(kind) is not Annotated:
        return []
    return [one for one in get_args(kind)[1:] if isinstance(one, msgspec.Meta)]


def _without_none(kind: Any) -> Any:
    if get_origin(kind) not in {Union, types.UnionType}:
        return kind
    (other,) = (choice for choice in get_args(kind) if choice is not types.NoneType)
    return other
