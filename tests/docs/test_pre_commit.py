"""The hooks before a commit run what the lock installs, and nothing else."""

import re
import tomllib

import pytest
import yaml
from documents import ROOT

CONFIG = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
HOOKS = [hook for repo in CONFIG["repos"] for hook in repo["hooks"]]
PYTHON = {"python": None}  # of the environment itself


def test_no_hook_is_downloaded():
    assert {repo["repo"] for repo in CONFIG["repos"]} == {"local"}
    assert {hook["language"] for hook in HOOKS} == {"system"}


def test_format_lint_types_spelling_and_words_are_checked():
    assert {hook["id"] for hook in HOOKS} == {"format", "lint", "types", "spelling", "words"}


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_runs_a_program_that_the_development_extra_installs(hook):
    program = re.match(r"\.venv/bin/([a-z-]+)", hook["entry"])[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    if program not in PYTHON:
        assert program in project["optional-dependencies"]["dev"]
        assert program in locked


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_the_files_that_a_hook_names_exist(hook):
    for name in re.findall(r"tests/\S+", hook["entry"]):
        assert (ROOT / name).is_file(), name
