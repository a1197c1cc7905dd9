"""The words that the glossary bans, in code, messages and documents of the product.

Identifiers are split into their words and comments are read too, so that a word is found wherever a
reader would meet it.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: The glossary lists the banned words, and the changelog says what replaced them.
EXEMPT = {"docs/concepts/glossary.md", "CHANGELOG.md"}

#: The glossary's last line, and of its column "not" what has no other meaning here.
PHRASES = (
    "judge[sd]?", "judging", "put(?:s|ting)? off", "said", "hangs", "left alone", "lets? go",
    "made anew", "told apart", "tell(?:s|ing)? (?:them|it|rows) apart", "passed over",
    "giv(?:e|es|en|ing) up", "gave up", "bur(?:y|ies|ied)", "sen[dt]s? home", "candles?",
    "second opinion", "ats",
)  # fmt: skip
_PHRASE = re.compile(rf"\b(?:{'|'.join(PHRASES)})\b")
#: One X per Y.
_A_X_A_Y = re.compile(
    r"\ba [a-z]+ an? [a-z]+|"
    r"\b(?:records|messages|rows|requests|trades|bytes|events|questions|answers)"
    r" an? (?:second|minute|hour|call|partition|batch)\b"
)

#: What venues call their own messages, as a text of its own: it must match what they send.
_NAMES_OF_VENUES = re.compile(r'"(?:candles|snapshotCandles|updateCandles)"')


def banned(text: str) -> list[str]:
    """What a text has of banned words, in order of kind."""
    text = _NAMES_OF_VENUES.sub('""', text)
    without_marks = re.sub(r"\n\s*(?:#:?|\*|>)?\s*", " ", text)
    sentences = re.sub(r"\s+", " ", without_marks).lower()
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    words = re.sub(r"[^A-Za-z0-9]+", " ", parted).lower()
    return _PHRASE.findall(words) + _A_X_A_Y.findall(sentences)


#: What people read, by folder.
FILES = {
    ".": ("*.md", "Makefile", "pyproject.toml", ".pre-commit-config.yaml", ".ci/*"),
    "docs": ("**/*.md",),
    "deploy": (
        "**/*.sh", "**/*.java", "**/*.xml", "**/*.txt", "**/*.py", "**/*.yml", "**/*.yaml",
        "**/*.tpl", "**/Dockerfile", "grafana/**/*.json",
    ),
    "k2_streams": ("**/*.py", "**/*.html", "**/*.js", "**/*.css"),
    "client": ("*.md", "*.toml", "k2_client/**/*.py"),
    "examples": ("**/*.md",),
    "topologies": ("**/*.py", "**/*.toml"),
    "bench": ("**/*.py",),
    "faults": ("**/*.py",),
}  # fmt: skip


def product() -> list[str]:
    """What people read of the product: sources, documents, targets and scripts, by their path."""
    files = [
        file
        for folder, patterns in FILES.items()
        for pattern in patterns
        for file in (ROOT / folder).glob(pattern)
    ]
    paths = [file.relative_to(ROOT).as_posix() for file in files]
    foreign = ("/results/", "/vendor/")
    return sorted(
        path for path in paths if path not in EXEMPT and not any(one in path for one in foreign)
    )


def test_no_file_has_a_banned_word():
    found = {path: words for path in product() if (words := banned((ROOT / path).read_text()))}
    assert found == {}


def test_every_kind_of_file_is_read():
    kinds = {Path(path).suffix or Path(path).name for path in product()}
    assert kinds >= {
        ".md",
        ".py",
        ".html",
        ".java",
        ".js",
        ".sh",
        ".toml",
        ".yaml",
        "Makefile",
        "run",
    }


@pytest.mark.parametrize(
    "text",
    [
        "records_judged", "class LeftAloneError", '"not yet: put off"', "it was\n    # said",
        "one task for\n#: a task a partition", "1,000 messages a second", "two rows told apart",
        "GivenUp", '"new candles"', "class Candles",
    ],
)  # fmt: skip
def test_a_banned_word_is_found_wherever_it_stands(text):
    assert banned(text)


@pytest.mark.parametrize(
    "text",
    ["one task per partition", "has a second name", "offset, lag", 'events = {"updateCandles"}'],
)
def test_other_words_are_not_found(text):
    assert banned(text) == []
