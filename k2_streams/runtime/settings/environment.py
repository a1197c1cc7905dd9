"""The environment: reads settings, and collects what is wrong with them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from k2_streams import failpoints
from k2_streams.failpoints import Entry
from k2_streams.runtime.settings.nearest import nearest

Parsed = TypeVar("Parsed")

#: What begins with `K2_` and is no setting of a worker: read by `k2 up`, `k2 demo` and `k2 broker`,
#: by the tests, the faults and the benchmarks. All of them may stand in a worker's environment.
TOOL_NAMES = frozenset(
    {
        "K2_BROKER_PORT",
        "K2_FAULTS_ISOLATED",
        "K2_FUZZ_SECONDS",
        "K2_KAFKA_JARS",
        "K2_REST_JARS",
        "K2_STORE_JARS",
    }
)
#: Names of the tests' own begin so.
TEST_PREFIXES = ("K2_TEST_", "K2_TESTS_")


class SettingsError(ValueError):
    """Settings cannot be used; a line for each names it and says what was expected."""


class Environment:
    """Reads `K2_*`; any may stand in a file that `K2_*_FILE` names.

    What is wrong is collected, so that a person reads all of it at once: the methods then return
    the default, and `check` raises. A name that was read is a name that is known: there is no list
    of settings beside the code that reads them.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._known: set[str] = set()
        self._errors: list[str] = []

    def refuse(self, text: str) -> None:
        """Note what is wrong; the text names the setting."""
        self._errors.append(text)

    def check(self) -> None:
        """Call it when everything has been read.

        Raises:
            SettingsError: something was refused, or a `K2_` name was read by nobody.
        """
        known = self._known | TOOL_NAMES
        for name in sorted(self._values):
            plain = name.removesuffix("_FILE")
            if not name.startswith("K2_") or name.startswith(TEST_PREFIXES):
                continue
            if name in known or plain in self._known:
                continue
            meant = nearest(name, known)
            advice = (
                f"did you mean {' or '.join(meant)}?" if meant else "the README lists the settings"
            )
            self.refuse(f"{name}: there is no such setting: {advice}")
        if self._errors:
            raise SettingsError("\n".join(self._errors))

    def is_set(self, name: str) -> bool:
        """Whether it has a value that is not empty."""
        return bool(self._values.get(name) or self._values.get(f"{name}_FILE"))

    def names(self, prefix: str) -> list[str]:
        """The names that are set and begin so, without `_FILE` at their end; all count as read."""
        found = [name for name in self._values if name.startswith(prefix)]
        self._known.update(found)
        return sorted({name.removesuffix("_FILE") for name in found})

    def text(self, name: str, default: str | None = None) -> str | None:
        """A setting as it is written; empty is not set."""
        self._known.add(name)
        file = self._values.get(f"{name}_FILE")
        if not file:
            return self._values.get(name) or default
        if self._values.get(name):
            self.refuse(f"{name} and {name}_FILE: expected one of them, found both")
        try:
            return Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            self.refuse(f"{name}_FILE: {file} cannot be read: {error}")
            return default

    def parsed(
        self, name: str, default: Parsed, parse: Callable[[str], Parsed], expected: str
    ) -> Parsed:
        """What `parse` makes of it; it raises ValueError for what is not `expected`."""
        value = self.text(name)
        if value is None:
            return default
        try:
            return parse(value)
        except ValueError:
            self.refuse(f"{name}: expected {expected}, found {value!r}")
            return default

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number, both bounds included."""

        def parse(value: str) -> int:
            number = int(value)
            if not low <= number <= high:
                raise ValueError
            return number

        return self.parsed(name, default, parse, f"a whole number from {low} to {high}")

    def seconds(self, name: str, default: float) -> float:
        """Seconds, a day at most."""

        def parse(value: str) -> float:
            number = float(value)
            if not 0 < number <= 86_400:
                raise ValueError
            return number

        return self.parsed(name, default, parse, "seconds, above 0 and up to 86400")

    def failpoints(self, name: str) -> tuple[Entry, ...]:
        """A plan of failpoints."""
        try:
            return failpoints.parse(self.text(name) or "")
        except ValueError as error:
            self.refuse(f"{name}: {error}")
            return ()

    def rising(self, name: str, defaults: Sequence[float], most: float) -> list[float]:
        """Numbers by comma, as many as the defaults, none below the one before."""

        def parse(value: str) -> list[float]:
            numbers = [float(part) for part in value.split(",")]
            if len(numbers) != len(defaults) or numbers != sorted(numbers):
                raise ValueError
            if not all(0 < number <= most for number in numbers):
                raise ValueError
            return numbers

        expected = f"{len(defaults)} numbers by comma, rising, above 0 and up to {most:g}"
        return self.parsed(name, list(defaults), parse, expected)

    def share(self, name: str, default: float) -> float:
        """A share, neither none nor all."""

        def parse(value: str) -> float:
            number = float(value)
            if not 0 < number < 1:
                raise ValueError
            return number

        return self.parsed(name, default, parse, "a share, above 0 and below 1")
