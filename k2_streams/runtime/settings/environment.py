"""The environment: read here only, with all that is wrong in it collected."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from k2_streams.runtime.settings.declare import PREFIX, Declaration, Group, declarations
from k2_streams.runtime.settings.nearest import nearest
from k2_streams.runtime.settings.parsing import ExplainedError

REFERENCE = "docs/reference/settings.md"
#: A file may hold anything: an error repeats no more of a value than this.
_SHOWN_CHARACTERS = 80
_FILE = "_FILE"

GroupT = TypeVar("GroupT", bound=Group)


class SettingsError(ValueError):
    """Settings cannot be used; the text has a line for each: variable, value, remedy."""


class Environment:
    """The variables of a process. Any of K2's may be in a file, which `<NAME>_FILE` names.

    What is wrong is collected, so that a person reads all of it at once: `check` raises.

    Args:
        values: the variables; None: those of this process.
    """

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = os.environ if values is None else values
        self._of_families: set[str] = set()
        self._errors: list[str] = []

    def refuse(self, text: str) -> None:
        """Note what is wrong; the text names the setting."""
        self._errors.append(text)

    def check(self, known: Collection[str] | None = None) -> None:
        """Call it when everything has been read.

        Args:
            known: the variables that exist; None: any may stand there.

        Raises:
            SettingsError: something was refused, or a `K2_` name is not a known one.
        """
        if known is not None:
            self._refuse_unknown(known)
        if self._errors:
            raise SettingsError("\n".join(self._errors))

    def _refuse_unknown(self, known: Collection[str]) -> None:
        for name in sorted(self._values):
            names = {name, name.removesuffix(_FILE)}
            if not name.startswith(PREFIX) or name in self._of_families or names & set(known):
                continue
            meant = nearest(name, known)
            advice = f"did you mean {' or '.join(meant)}?" if meant else f"see {REFERENCE}"
            self.refuse(f"{name}: there is no such setting: {advice}")

    def names(self, prefix: str) -> list[str]:
        """The variables of a family that are set, without `_FILE` at their end; all are known."""
        found = [name for name in self._values if name.startswith(prefix)]
        self._of_families.update(found)
        return sorted({name.removesuffix(_FILE) for name in found})

    def file_of(self, name: str) -> str | None:
        """The file that holds a variable's text; None: none does."""
        return (self._values.get(f"{name}{_FILE}") or None) if name.startswith(PREFIX) else None

    def text(self, name: str) -> str | None:
        """A variable as it is written, or its file's text; empty is not set."""
        if self.file_of(name) is None:
            return self._values.get(name) or None
        return self.file_text(name) or None

    def file_text(self, name: str) -> str | None:
        """The text of a variable's file, without the white space at its ends.

        None: there is no file, or it cannot be read, which is refused.
        """
        file = self.file_of(name)
        if file is None:
            return None
        if self._values.get(name):
            self.refuse(f"{name} and {name}_FILE: expected one of them, found both: remove one")
        try:
            return Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            self.refuse(f"{name}_FILE: {file} cannot be read: {error}")
            return None


class _Source(PydanticBaseSettingsSource):
    """A group's values as texts, by field."""

    def __init__(
        self, group: type[Group], environment: Environment, without: Collection[str]
    ) -> None:
        super().__init__(group)
        self._environment = environment
        self._declarations = {
            name: one for name, one in declarations(group).items() if name not in without
        }

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - pydantic's
        variable = self._declarations[field_name].variable
        return self._environment.text(variable), field_name, False

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields
        found = {name: self.get_field_value(fields[name], name)[0] for name in self._declarations}
        return {name: text for name, text in found.items() if text is not None}


def read(
    group: type[GroupT],
    environment: Environment,
    defaults: Mapping[str, Any] | None = None,
    parsed: Mapping[str, Any] | None = None,
) -> GroupT:
    """A group's settings; one that cannot be used is refused, and has its default in the result.

    Args:
        group: which.
        environment: where they are; notes what is wrong.
        defaults: values of fields that are not set, instead of the declared ones.
        parsed: values of fields that the caller has read.
    """
    given = _Source(group, environment, parsed or ())() | dict(parsed or {})
    try:
        return group(**{**(defaults or {}), **given})
    except ValidationError as error:
        wrong = {str(one["loc"][0]): one for one in reversed(error.errors()) if one["loc"]}
    for name, declaration in declarations(group).items():
        if name in wrong and name in given:
            cause = wrong[name].get("ctx", {}).get("error")
            explanation = str(cause) if isinstance(cause, ExplainedError) else ""
            environment.refuse(_refusal(declaration, given.pop(name), explanation))
    return group(**{**(defaults or {}), **given})


def _refusal(declaration: Declaration, text: str, explanation: str) -> str:
    default = declaration.default_text.replace("`", "")
    remedy = f"correct it, or remove it for the default ({default})"
    if explanation:
        return f"{declaration.variable}: {explanation}: {remedy}"
    found = repr(text[:_SHOWN_CHARACTERS]) + ("..." if len(text) > _SHOWN_CHARACTERS else "")
    if declaration.is_secret:
        found = "a value that is not shown, as it is secret"
    return f"{declaration.variable}: expected {declaration.expected}, found {found}: {remedy}"


def inherited(more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child process: this process's, and more."""
    return {**os.environ, **more}


def forget_settings() -> None:
    """Remove every setting of K2 from this process's environment, and so from its children's."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
