"""`make deploy-check` and `make release-check`: what fails is seen, what is absent is said."""

import subprocess
from pathlib import Path

import pytest

from deploy.checks import __main__ as checks
from deploy.image.chroot import StageRoot
from deploy.image.dockerfile import BuildStage, Instruction
from deploy.release.__main__ import pins
from deploy.release.distributions import DISTRIBUTIONS
from deploy.tools import ROOT, StepFailedError, run, tool

#: An example of a package of somebody else's.
NOT_RELEASED = {ROOT / "topologies" / "examples" / "own_venue"}


def absent() -> str:
    return tool("a-program-that-nobody-has")


def failing() -> str:
    return run(["/bin/sh", "-c", "echo why; exit 3"])


def test_a_program_that_fails_is_an_error_with_its_last_lines():
    with pytest.raises(StepFailedError, match=r"(?s)ended with 3.*why"):
        failing()


@pytest.mark.parametrize(
    ("check", "code", "line"),
    [
        (lambda: "two files", 0, "ok      it: two files"),
        (absent, 0, "skipped it: no a-program-that-nobody-has: `make deploy-tools` fetches it"),
        (failing, 1, "failed  it: /bin/sh -c echo why; exit 3 ended with 3"),
    ],
)
def test_a_check_is_ok_skipped_with_the_reason_or_failed(monkeypatch, capsys, check, code, line):
    monkeypatch.setattr(checks, "CHECKS", {"it": check})
    assert checks.main() == code
    printed = capsys.readouterr().out
    assert line in printed
    assert "not checked here" in printed


def test_everything_with_a_project_file_is_released():
    listed = run(["git", "ls-files", "pyproject.toml", "*/pyproject.toml"]).split()
    folders = {(ROOT / name).parent for name in listed} - NOT_RELEASED
    assert {one.folder for one in DISTRIBUTIONS} == folders
    assert all(one.smoke for one in DISTRIBUTIONS)


def test_what_a_distribution_is_installed_with_is_of_the_release():
    names = [one.name for one in DISTRIBUTIONS]
    for place, one in enumerate(DISTRIBUTIONS):
        assert set(one.needs) <= set(names[:place])


def test_the_lock_gives_a_constraint_per_package_with_its_marker():
    lock = "aiohttp==3.1 \\\n    --hash=sha256:1\n    # via x\nuvloop==1 ; sys_platform == 'x' \\\n"
    assert pins(lock) == ["aiohttp==3.1", "uvloop==1 ; sys_platform == 'x'"]
    assert len(pins((ROOT / "requirements.lock").read_text())) > 50


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StageRoot:
    """In an empty folder, with a checkout of three files."""
    checkout, base = tmp_path / "checkout", tmp_path / "base"
    (checkout / "src" / "target").mkdir(parents=True)
    for name in ("a.lock", "b.lock", "src/code", "src/target/built"):
        (checkout / name).write_text(name)
    base.mkdir()
    monkeypatch.setattr("deploy.image.chroot.ROOT", checkout)
    monkeypatch.setattr("deploy.image.chroot.base", lambda: base)
    return StageRoot(tmp_path / "stage", BuildStage("one", "debian"))


def built(root: StageRoot, *instructions: tuple[str, str]) -> StageRoot:
    root.stage.instructions.extend(Instruction(*one) for one in instructions)
    root.build({"other": root})
    return root


def test_files_are_copied_where_docker_copies_them(stage):
    work = ("WORKDIR", "/work")
    built(stage, work, ("COPY", "a.lock b.lock deploy/"), ("COPY", "src src"), ("COPY", "a.lock c"))
    folder = stage.folder / "work"
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert files == {"deploy/a.lock", "deploy/b.lock", "src/code", "c"}


def test_a_stage_s_files_are_copied_from_another_whole(stage):
    (stage.folder / "opt" / "target").mkdir(parents=True)
    (stage.folder / "opt" / "target" / "file").write_text("x")
    built(stage, ("COPY", "--from=other /opt /copy"))
    assert (stage.folder / "copy" / "target" / "file").read_text() == "x"


def test_variables_are_set_for_the_commands(stage):
    built(stage, ("ENV", "A=1 PATH=/opt/bin:$PATH"))
    script = stage.command(["true"], {"B": "2"}, user="5:5")[-1]
    assert " A=1 " in script
    assert " B=2 " in script
    assert "PATH=/opt/bin:/" in script
    assert "chroot --userspec=5:5" in script
    assert subprocess.run(["/bin/sh", "-n", "-c", script], check=False).returncode == 0
