"""A Dockerfile as data: stages of instructions, in the subset of the language that K2's uses."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FILE = Path(__file__).with_name("Dockerfile")
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its keyword in capitals, and the rest of it on one line."""

    keyword: str
    text: str

    @property
    def words(self) -> list[str]:
        """Of a form in JSON its elements, else the words."""
        if self.text.startswith("["):
            elements: list[str] = json.loads(self.text)
            return elements
        return self.text.split()


@dataclass(frozen=True, slots=True)
class BuildStage:
    """From one FROM to the next."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def last(self, keyword: str) -> Instruction:
        """The last one of its kind, which is the one that counts.

        Raises:
            LookupError: there is none.
        """
        return [one for one in self.instructions if one.keyword == keyword][-1]

    def environment(self, before: dict[str, str]) -> dict[str, str]:
        """With all ENV of the stage."""
        found = dict(before)
        for one in self.instructions:
            if one.keyword == "ENV":
                found |= assigned(one, found)
        return found


def stages(text: str) -> list[BuildStage]:
    """The stages in their order."""
    found: list[BuildStage] = []
    arguments: dict[str, str] = {}
    for one in _instructions(text):
        if one.keyword == "ARG":
            arguments |= assigned(one, arguments)
        elif one.keyword == "FROM":
            base, _, name = expanded(one.text, arguments).partition(" AS ")
            found.append(BuildStage(name, base))
        else:
            found[-1].instructions.append(one)
    return found


def assigned(one: Instruction, known: dict[str, str]) -> dict[str, str]:
    """The variables that an ENV or ARG sets, with those that it names filled in."""
    return dict(expanded(word, known).partition("=")[::2] for word in one.words)


def expanded(text: str, known: dict[str, str]) -> str:
    """With the variables that it names filled in; unknown ones are empty."""
    return _VARIABLE.sub(lambda found: known.get(found[1] or found[2], ""), text)


def _instructions(text: str) -> Iterator[Instruction]:
    without_comments = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    for line in re.sub(r"\s*\\\n\s*", " ", without_comments).splitlines():
        if line.strip():
            keyword, _, rest = line.strip().partition(" ")
            yield Instruction(keyword.upper(), rest.strip())
