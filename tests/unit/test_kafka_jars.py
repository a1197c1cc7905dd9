"""Kafka's jars: where they are, and what a fetch leaves when Maven ends in this way or that."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from k2_streams.cli.main import main
from k2_streams.testing.local.installed import default_jars

FILLS = """for last; do case $last in -DoutputDirectory=*) to=${last#*=};; esac; done
mkdir -p "$to" && touch "$to/kafka_2.13-0.jar" "$to/other.jar"
"""


@pytest.fixture
def fetch(tmp_path, monkeypatch):
    """`k2 broker fetch` with a program that stands for Maven, over an old jar."""
    jars = tmp_path / "cache" / "lib"
    jars.mkdir(parents=True)
    (jars / "kafka_old.jar").touch()

    def run(script: str | None) -> tuple[int, str, set[str]]:
        programs = tmp_path / "bin"
        programs.mkdir()
        if script is not None:
            (programs / "mvn").write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
            (programs / "mvn").chmod(0o755)
        monkeypatch.setenv("PATH", str(programs))
        done = CliRunner().invoke(main, ["broker", "fetch", "--jars", str(jars)])
        assert [path.name for path in jars.parent.iterdir()] == ["lib"]
        return done.exit_code, done.output, {path.name for path in jars.iterdir()}

    return run


def test_the_folder_is_replaced_by_what_maven_fetched(fetch):
    code, text, files = fetch(FILLS)
    assert (code, files) == (0, {"kafka_2.13-0.jar", "other.jar"})
    assert "2 jars in" in text


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "Maven 3.6.3 or newer is needed, found none as 'mvn'"),
        (f"{FILLS}echo a line; echo no route; exit 1", "no route"),
        ("exit 0", "could not fetch"),
    ],
    ids=["no Maven", "a failure half way", "nothing fetched"],
)
def test_a_fetch_that_fails_leaves_the_folder_as_it_was(fetch, script, message):
    code, text, files = fetch(script)
    assert (code, files) == (2, {"kafka_old.jar"})
    assert message in text


def test_an_installed_k2_has_them_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/user")
    assert default_jars(tmp_path) == Path("/home/user/.cache/k2-streams/kafka/lib")
    (tmp_path / "pyproject.toml").touch()
    assert default_jars(tmp_path) == tmp_path / ".cache/kafka/lib"
