"""How a setting is declared: once, as a field of a group, with all that is derived from it.

The declaration gives the variable, its type and bounds, its default, its unit, what it is for, and
whether it is a secret. Reading, checking, error texts and `docs/reference/settings.md` follow
from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import get_annotations
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "K2_"
_METADATA = "k2"
#: What a number of a unit is called in a text.
_NUMBERS = {"s": "seconds", "share": "a share"}


class Group(BaseSettings):
    """Settings that belong together: frozen values, checked wherever they come from.

    Constructed directly it takes what it is given and the defaults: it reads no environment.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True)
    heading: ClassVar[str] = ""

    @classmethod
    def settings_customise_sources(  # noqa: D102 - pydantic's
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class _Notes:
    """What pydantic does not know of a setting."""

    purpose: str
    variable: str | None
    unit: str
    expected: str
    default_text: str
    is_secret: bool


def setting(  # noqa: PLR0913 - each is a column of the reference
    default: Any,
    purpose: str,
    *,
    variable: str | None = None,
    unit: str = "",
    expected: str = "",
    default_text: str = "",
    is_secret: bool = False,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> Any:
    """A field that is a setting.

    Args:
        default: its value where the variable is not set.
        purpose: what it is for, as the reference shows it.
        variable: its name; None: `K2_` and the field's name in capitals.
        unit: of a number; the variable's name ends in it.
        expected: what values it takes; empty: as its type and bounds say.
        default_text: what the reference shows where the default depends on something.
        is_secret: neither an error nor the object's text shows the value.
        ge: the least value.
        gt: a bound that the value is above.
        le: the greatest value.
        lt: a bound that the value is below.
    """
    notes = _Notes(purpose, variable, unit, expected, default_text, is_secret)
    extra: dict[str, Any] = {_METADATA: notes}
    bounds: dict[str, Any] = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    return Field(
        default,
        repr=not is_secret,
        json_schema_extra=extra,
        **{name: bound for name, bound in bounds.items() if bound is not None},
    )


@dataclass(frozen=True, slots=True)
class Declaration:
    """One setting, as declared."""

    field: str
    variable: str
    heading: str  # of its group
    purpose: str
    unit: str
    expected: str  # after "expected "
    default: Any
    default_text: str
    is_secret: bool
    lowest: float | None  # the least value, where it is a whole number with bounds
    highest: float | None


def declarations(group: type[Group]) -> dict[str, Declaration]:
    """The settings of a group and of the groups that it is made of, by field, in their order."""
    found: dict[str, Declaration] = {}
    for part in _parts(group):
        for name in get_annotations(part):
            info = group.model_fields.get(name)
            extra = info.json_schema_extra if info is not None else None
            if info is not None and isinstance(extra, dict) and _METADATA in extra:
                notes: Any = extra[_METADATA]
                found[name] = _declaration(name, part, info, notes)
    return found


def _parts(group: type[Group]) -> Iterator[type[Group]]:
    """The groups in the order in which they are named."""
    for base in group.__bases__:
        if issubclass(base, Group) and base is not Group:
            yield from _parts(base)
    yield group


def _declaration(name: str, part: type[Group], info: FieldInfo, notes: _Notes) -> Declaration:
    lowest: Any = next((bound.ge for bound in info.metadata if isinstance(bound, Ge)), None)
    highest: Any = next((bound.le for bound in info.metadata if isinstance(bound, Le)), None)
    return Declaration(
        field=name,
        variable=notes.variable or f"{PREFIX}{name.upper()}",
        heading=part.heading,
        purpose=notes.purpose,
        unit=notes.unit,
        expected=notes.expected or _expected(info, notes.unit, lowest, highest),
        default=info.default,
        default_text=notes.default_text or _shown(info.default),
        is_secret=notes.is_secret,
        lowest=lowest,
        highest=highest,
    )


def _expected(info: FieldInfo, unit: str, lowest: Any, highest: Any) -> str:
    kind = _kind(info.annotation)
    if get_origin(kind) is Literal:
        *others, last = get_args(kind)
        return f"{', '.join(others)} or {last}"
    if kind is bool:
        return "0 or 1"
    if kind is int:
        return f"a whole number from {lowest} to {highest}"
    if kind is float:
        bounds = " and ".join(filter(None, map(_bound, info.metadata)))
        return f"{_NUMBERS.get(unit, 'a number')}, {bounds}"
    return "a text"


def _kind(annotation: Any) -> Any:
    """The type beside None."""
    if get_origin(annotation) in {Union, UnionType}:
        return next(kind for kind in get_args(annotation) if kind is not NoneType)
    return annotation


def _bound(bound: Any) -> str:
    match bound:
        case Ge(ge=value):
            return f"from {value}"
        case Gt(gt=value):
            return f"above {value}"
        case Le(le=value):
            return f"up to {value}"
        case Lt(lt=value):
            return f"below {value}"
    return ""


def _shown(default: Any) -> str:
    if default is None or default in ("", (), {}):
        return "none"
    if isinstance(default, bool):
        return str(int(default))
    if isinstance(default, tuple):
        return ",".join(_shown(part) for part in default)
    return f"{default:g}" if isinstance(default, float) else str(default)
