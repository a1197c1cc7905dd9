"""What stands between a fresh clone and a running K2: make, the doctor and the lock file."""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("make", "sh", "sed", "head", "awk", "dirname", "echo")
WORKS = {
    "python3": 'case "$2" in *version_info*) echo 3.11.2;; esac',
    "java": "echo 'openjdk version \"17.0.2\" 2022-01-18' >&2",
    "mvn": "echo 'Apache Maven 3.8.7'",
}


@pytest.fixture
def machine(tmp_path):
    """A path with the usual tools and a good Python, Java and Maven; `install` replaces one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool))

    def install(**programs: str | None) -> dict[str, str]:
        for name, script in (WORKS | programs).items():
            (folder / name).unlink(missing_ok=True)
            if script is not None:
                (folder / name).write_text(f"#!/bin/sh\n{script}\n")
                (folder / name).chmod(0o755)
        return {"PATH": str(folder), "HOME": str(tmp_path)}

    return install


def make(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],  # noqa: S607 - the path is what is tested
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_make_alone_prints_every_target_with_a_line_each(machine):
    done = make(machine(), "--no-print-directory")
    assert done.returncode == 0
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in phony.group(1).split():
        assert re.search(rf"^  make {target} +\S", done.stdout, re.MULTILINE), target


def test_the_doctor_is_content_with_a_good_machine(machine):
    done = make(machine(), "doctor")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("programs", "expected"),
    [
        ({"python3": None}, "Python 3.11 or newer is needed, found none as 'python3': install"),
        ({"python3": "echo 3.9.18"}, "Python 3.11 or newer is needed, found 3.9.18 as 'python3'"),
        (
            {"python3": 'case "$2" in *version_info*) echo 3.12.1;; *) exit 1;; esac'},
            "Python's venv module is needed: install",
        ),
        ({"java": None}, "Java 17 or newer is needed, found none as 'java': install"),
        ({"java": "echo 'java version \"1.8.0_292\"' >&2"}, "found 1.8.0_292 as 'java': install"),
        ({"java": "echo 'openjdk version \"11.0.20\"' >&2"}, "found 11.0.20 as 'java': install"),
        ({"mvn": None}, "Maven 3.6.3 or newer is needed, found none as 'mvn': install"),
        ({"mvn": "echo 'Apache Maven 3.3.9 (x; 2015)'"}, "found 3.3.9 as 'mvn': install"),
        ({"mvn": "echo 'Apache Maven 3.6.2'"}, "found 3.6.2 as 'mvn': install"),
    ],
)
@pytest.mark.parametrize("target", ["doctor", "test"])
def test_what_is_missing_or_old_is_one_line_and_exit_code_2(machine, programs, expected, target):
    # A stamp that is not there: `test` must set up, and so must ask the doctor first.
    done = make(machine(**programs), target, "INSTALLED=.venv/none", "COPIED=.cache/none")
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_an_old_make_is_said(machine):
    done = make(machine(), "doctor", "MAKE_VERSION=3.79.1")
    assert done.returncode == 2
    assert "GNU make 3.81 or newer is needed, found 3.79.1" in done.stderr


@pytest.mark.parametrize(
    ("programs", "found"),
    [
        ({"python3": 'case "$2" in *version_info*) echo 3.13.0;; esac'}, "a newer Python"),
        ({"java": "echo 'Picked up X' >&2; echo 'openjdk version \"21-ea\"' >&2"}, "a newer Java"),
        ({"java": "echo 'openjdk version \"25\"' >&2"}, "a Java without a minor version"),
        ({"mvn": "printf '\\033[1mApache Maven 4.0.0\\033[m\\n'"}, "a newer Maven, in bold"),
    ],
)
def test_newer_is_good(machine, programs, found):
    done = make(machine(**programs), "doctor")
    assert (done.returncode, done.stderr) == (0, ""), found


def test_java_home_wins_over_the_path(machine):
    environment = machine(java=None)
    home = Path(environment["HOME"]) / "jdk" / "bin"
    home.mkdir(parents=True)
    (home / "java").write_text(f"#!/bin/sh\n{WORKS['java']}\n")
    (home / "java").chmod(0o755)
    assert make(environment | {"JAVA_HOME": str(home.parent)}, "doctor").returncode == 0


def test_ci_without_make_says_so(machine, tmp_path):
    environment = machine()
    (Path(environment["PATH"]) / "make").unlink()
    done = subprocess.run(
        [shutil.which("bash"), ".ci/run"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("make is needed: install it")


def pytest_line(machine, target: str) -> list[str]:
    """The words of the command by which a target runs the Python tests."""
    done = make(
        machine() | {"MAKEFLAGS": "", "MAKELEVEL": ""},
        *("-n", target, "-o", "setup", "-o", ".venv/.k2-installed", "-o", "lint"),
        *("-o", "test-native", "K2_BOOTSTRAP=", "ARGS="),
    )
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = re.findall(r"^.*-m pytest .*$", done.stdout.replace("\\\n", ""), re.MULTILINE)
    return shlex.split(line)


def left_out(words: list[str]) -> set[str]:
    """The markers whose tests a command leaves out."""
    (chosen,) = (words[at + 1] for at, word in enumerate(words) if word == "-m" and at > 1)
    return {marker.removeprefix("not ") for marker in chosen.split(" and ")}


def test_only_make_check_tries_few_examples_and_leaves_slow_tests_out(machine):
    check, test = pytest_line(machine, "check"), pytest_line(machine, "test")
    assert [word for word in check if "hypothesis" in word] == ["--hypothesis-profile=quick"]
    assert [word for word in test if "hypothesis" in word] == []
    assert left_out(check) == {"integration", "long", "slow", "spark"}
    assert left_out(test) == {"long", "spark"}
    # Nor does what pytest reads by itself choose either, for CI and for whoever runs pytest alone.
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert options["addopts"] == "-ra --strict-markers --strict-config"


def test_make_check_leaves_no_kind_of_test_out(machine):
    check = pytest_line(machine, "check")
    kinds = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    tried = {word for word in check if word.startswith("tests/")}
    assert tried == {f"tests/{kind}" for kind in kinds - {"integration"}}


def test_ci_runs_the_whole_of_make_test():
    commands = [line.strip() for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    assert [line for line in commands if re.match(r"(make|\S+/make) (test|check)", line)] == [
        "make test || exit"
    ]
    assert not re.search(r"hypothesis|PYTEST_ADDOPTS|ARGS", "\n".join(commands), re.IGNORECASE)


def test_a_failing_test_fails_make(machine, tmp_path):
    """`make test` ends with pytest's closing line and, if a test fails, not with 0."""
    (tmp_path / "test_it.py").write_text("def test_bad():\n    assert False\n")
    done = make(
        dict(os.environ) | {"MAKEFLAGS": "", "MAKELEVEL": ""},
        "test",
        *("-o", ".venv/.k2-installed", "-o", ".venv/.k2-native-installed"),
        *("-o", ".cache/kafka/.jars-copied", "-o", "doctor", "-o", "test-native"),
        "PARALLEL=",  # one process for one test
        f"ARGS=-p no:cacheprovider --rootdir={tmp_path} {tmp_path}/test_it.py",
    )
    assert done.returncode == 2
    assert re.search(r"=+ 1 failed in .*=+$", done.stdout.strip())


def test_the_lock_pins_everything_by_hash_and_names_no_place():
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"://|file:|--index|--find-links|^-", text, re.MULTILINE)
    pins = re.findall(
        r"^([a-z0-9][^ =]*)==(\S+)((?:.*\\\n +--hash=sha256:[0-9a-f]{64})?)", text, re.MULTILINE
    )
    assert len(pins) > 50
    assert all(hashes for _, _, hashes in pins)
    names = {re.sub(r"[-_.]+", "-", name).lower() for name, _, _ in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    client = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())
    beside = f"{client['project']['name']}=="  # which `make setup` installs from its folder
    wanted = [
        *(one for one in project["project"]["dependencies"] if not one.startswith(beside)),
        *client["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
        *project["build-system"]["requires"],
    ]
    for requirement in wanted:
        name = re.match(r"[A-Za-z0-9._-]+", requirement).group()
        assert re.sub(r"[-_.]+", "-", name).lower() in names, f"{requirement}: run `make lock`"
