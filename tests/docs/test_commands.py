"""Every command and sample of the documentation is run, or is checked and not run for a reason."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import click
import forked
import pytest
from click.testing import CliRunner
from documents import DATA, KEYS, REASONS, ROOT, Block, blocks, commands, pages

from k2_streams.cli.main import main

ALL = [block for page in pages() for block in blocks(page)]
SHELL = [block for block in ALL if block.language == "sh"]
INLINE = r"`((?:k2|make|faust|python -m) [^`]*)`"


def is_declared(block: Block) -> bool:
    """Whether its info string says what a test does with it."""
    if not set(block.options) <= KEYS:
        return False
    if block.language in DATA:
        return not block.options
    if block.language == "python":
        return block.run in {None, "kafka", "notebook", "sketches"}
    return (
        block.language == "sh"
        and block.run in {"kafka", "kafka-end", "runbook", "adopt", "never"}
        and (block.run == "never") == ("reason" in block.options)
        and block.options.get("reason", "make") in REASONS
    )


def test_every_block_says_what_a_test_does_with_it():
    assert [f"{block.where}: {block.options}" for block in ALL if not is_declared(block)] == []


@pytest.mark.parametrize(
    ("language", "options"),
    [
        ("sh", {}), ("sh", {"run": "never"}), ("sh", {"run": "never", "reason": "bored"}),
        ("sh", {"run": "kafka", "reason": "make"}), ("json", {"file": "a"}), ("perl", {}),
        ("python", {"run": "never"}), ("python", {"fil": "a.py"}),
    ],
)  # fmt: skip
def test_a_block_that_does_not_say_it_is_found(language, options):
    assert not is_declared(Block(ROOT / "a.md", 1, language, options, ""))


def test_every_reason_not_to_run_a_block_is_used():
    assert {block.options["reason"] for block in SHELL if block.run == "never"} == set(REASONS)


def test_data_can_be_read():
    for block in ALL:
        if block.language in {"json", "toml"}:
            read = json.loads if block.language == "json" else tomllib.loads
            assert read(block.text), block.where


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), name)
            assert found is not None
            yield from leaves(found, (*path, name))


COMMANDS = list(leaves(main))
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_command_has_help():
    for path in COMMANDS:
        done = CliRunner().invoke(main, [*path, "--help"])
        assert done.exit_code == 0, (path, done.output)
        assert "Usage: " in done.output, path


def check(text: str, where: str, written: frozenset[str] = frozenset()) -> None:
    """A command exists and takes these arguments; the page writes these files."""
    words = shlex.split(text.replace("...", ""))
    if words[0] == "k2":
        accepted(main, words[1:], where)
    elif words[0] == "make":
        targets = {word for word in words[1:] if "=" not in word}
        assert targets <= TARGETS, f"{where}: {text}"
    elif words[0] == "faust":
        module = words[words.index("-A") + 1]
        file = f"{module.replace('.', '/')}.py"
        assert file in written or (ROOT / file).is_file(), f"{where}: {text}"
    elif words[:2] == ["python", "-m"]:
        package = words[2].replace(".", "/")
        found = [ROOT / f"{package}.py", ROOT / package / "__main__.py"]
        found += [ROOT / "tests" / package / "__main__.py"]
        assert words[2] == "pytest" or any(path.is_file() for path in found), f"{where}: {text}"
        if words[2] == "bench" and len(words) > 3:
            assert (ROOT / "bench" / f"{words[3]}.py").is_file(), f"{where}: {text}"


def accepted(command: click.Command, words: list[str], where: str) -> None:
    """The command takes these words; nothing is run, and no file is looked for."""
    context = click.Context(main, info_name="k2")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"{where}: k2 has no command {name}"
        command, context = found, click.Context(found, parent=context, info_name=name)
    if "--help" in words:
        return
    parser = command.make_parser(context)
    for parameter in command.params:  # files of the reader are not here
        if isinstance(parameter.type, click.Path):
            parameter.type.exists = False
    try:
        parser.parse_args(args=list(words))
    except click.UsageError as error:
        pytest.fail(f"{where}: {shlex.join(words)}: {error.format_message()}")


def test_the_commands_of_every_block_exist_and_take_their_arguments():
    for block in SHELL:
        written = frozenset(b.options["file"] for b in blocks(block.page) if "file" in b.options)
        for text in commands(block):
            check(text, block.where, written)


def test_the_commands_in_the_text_of_every_page_exist():
    now = [page for page in pages() if page.name != "CHANGELOG.md"]  # that one has past versions
    for page in now:
        for text in re.findall(INLINE, page.read_text()):
            if "COMMAND" not in text and "NAME" not in text:
                check(text.replace("<", "").replace(">", ""), str(page.relative_to(ROOT)))


def test_a_command_that_does_not_exist_is_found():
    for wrong in (
        "k2 prodce",
        "k2 produce --sybols 3",
        "make tset",
        "faust -A topologies.x worker",
        "python -m bench nothing",
    ):
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            check(wrong, "here")


def test_the_reference_names_every_command_and_every_target():
    text = (ROOT / "docs" / "reference" / "commands.md").read_text()
    for path in COMMANDS:
        if len(path) == 1:
            assert f"`k2 {path[0]}`" in text, path
    for target in TARGETS:
        assert f"`make {target}`" in text, target


PYTHON = [
    page for page in pages() if any(b.language == "python" and not b.run for b in blocks(page))
]


#: What a sample defines as a test is called; one that asks for a fixture is pytest's.
CALL_TESTS = """
import inspect
for name, test in list(globals().items()):
    if name.startswith("test_") and not inspect.signature(test).parameters:
        test()
"""


def test_there_are_samples_in_python():
    assert len(PYTHON) >= 2


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_samples_of_a_page_run_from_top_to_bottom(page, tmp_path):
    """As one module, whose tests are called."""
    texts, tests = [], []
    for block in blocks(page):
        if block.language != "python" or block.run:
            continue
        if "file" in block.options:
            name = block.options["file"]
            (tmp_path / name).write_text(block.text)
            if name.startswith("test_"):
                tests.append(name)
        texts.append(block.text)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = forked.run_text("\n".join([*texts, CALL_TESTS]), environment, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    if tests:
        plugin = "k2_streams.testing.pytest_plugin"
        run(tmp_path, "-m", "pytest", "-q", "-p", plugin, "-p", "no:cacheprovider", *tests)


def run(folder, *arguments):
    """Python in a folder."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        # A reader's pytest has no plugins but K2's, which is named.
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("info", "fixture"), [("python", ""), ("python file=test_it.py", "tmp_path")]
)
def test_a_sample_that_fails_is_seen(tmp_path, info, fixture):
    page = tmp_path / "page.md"
    page.write_text(f"```{info}\ndef test_it({fixture}):\n    assert False\n```\n")
    with pytest.raises(AssertionError, match="assert False"):
        test_the_samples_of_a_page_run_from_top_to_bottom(page, tmp_path)
