"""The names that were probably meant: for a misspelt variable, and for one that was renamed."""

import difflib
from collections.abc import Collection

#: Below this likeness of the letters a name is another one, unless it has all the words.
LIKENESS_MIN = 0.6
#: A reader compares so many names at a glance.
NAMES_MAX = 3


def nearest(name: str, known: Collection[str]) -> list[str]:
    """The known names that have all the words of this one, else the one most like it; or none.

    Words count as much as letters: a renamed setting has kept words, a misspelt one has letters.
    """
    words = _words(name)

    def likeness(other: str) -> float:
        letters = difflib.SequenceMatcher(None, name, other).ratio()
        return letters + len(words & _words(other)) / len(words)

    by_likeness = sorted(known, key=lambda other: (-likeness(other), other))
    with_all_words = [other for other in by_likeness if words <= _words(other)]
    if with_all_words and len(words) > 2:  # `K2_` and one word more would name a whole group
        return with_all_words[:NAMES_MAX]
    alike = set(difflib.get_close_matches(name, known, len(known) or 1, cutoff=LIKENESS_MIN))
    return [other for other in by_likeness if other in alike][:1]


def _words(name: str) -> frozenset[str]:
    return frozenset(name.split("_"))
