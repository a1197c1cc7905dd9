"""`python -m deploy.release FOLDER`: build the distributions there, and try each.

1. Build an sdist, and the wheel from it: what the sdist lacks, the wheel lacks.
2. Install the wheel into an empty environment, with the versions of `requirements.lock`.
3. Run its smoke tests, in an empty folder.
4. Write a software bill of materials (CycloneDX) of what is installed there.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

from deploy.release.distributions import DISTRIBUTIONS, Distribution
from deploy.tools import ROOT, StepFailedError, ToolAbsentError, run, tool

#: A package's line: name, version, and where it is installed.
_PIN = re.compile(r"^([A-Za-z0-9._-]+==.*?) *\\?$", re.MULTILINE)
#: Of this process, which would show the checkout to the environments.
_NOT_PASSED_ON = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME"}


def main(arguments: list[str]) -> int:
    """Build and try all; 1 if one fails, 2 without the tools."""
    target = Path(arguments[0] if arguments else ROOT / "dist").absolute()
    target.mkdir(parents=True, exist_ok=True)
    for old in target.iterdir():
        old.unlink()
    try:
        for distribution in DISTRIBUTIONS:
            build(distribution, target)
        for distribution in DISTRIBUTIONS:
            check(distribution, target)
    except ToolAbsentError as error:
        print(error)
        return 2
    except StepFailedError as error:
        print(error)
        return 1
    for file in sorted(target.iterdir()):
        print(f"{file.stat().st_size:12,} {file.name}")
    return 0


def build(distribution: Distribution, target: Path) -> None:
    """An sdist, and the wheel from it."""
    print(f"{distribution.name}: sdist and wheel", flush=True)
    # maturin is looked for beside its Python.
    beside = os.pathsep.join([str(Path(tool("pyproject-build")).parent), os.environ["PATH"]])
    words: list[str | Path] = ["--no-isolation", "--outdir", target, distribution.folder]
    run([tool("pyproject-build"), *words], environment=_environment() | {"PATH": beside})


def check(distribution: Distribution, target: Path) -> None:
    """Install, try, list."""
    with tempfile.TemporaryDirectory(prefix="k2-release-") as folder:
        empty, programs = Path(folder), Path(folder) / "environment" / "bin"
        run([sys.executable, "-m", "venv", empty / "environment"])
        constraints = empty / "constraints.txt"
        constraints.write_text("\n".join(pins((ROOT / "requirements.lock").read_text())))
        wheels = [_wheel(name, target) for name in (*distribution.needs, distribution.name)]
        wheels[-1] += distribution.extras
        print(f"{distribution.name}: install {', '.join(Path(one).name for one in wheels)}")
        run([programs / "python", "-m", "pip", "install", "-q", "-c", constraints,
             "--find-links", target, *wheels],
            environment=_environment())  # fmt: skip
        for program, *words in distribution.smoke:
            shown = " ".join(words) if "\n" not in words[-1] else "the driver's smoke test"
            print(f"{distribution.name}: {program} {shown}", flush=True)
            run([programs / program, *words], folder=empty, environment=_environment())
        bill = target / f"{Path(wheels[-1]).name.split('-py')[0].split('-cp')[0]}.cdx.json"
        run([
            tool("cyclonedx-py"), "environment", "--output-format", "JSON",
            "--pyproject", distribution.folder / "pyproject.toml",
            "--output-file", bill, programs / "python",
        ])  # fmt: skip


def pins(lock: str) -> list[str]:
    """The versions of a lock with their markers, without hashes: constraints of an installation."""
    return _PIN.findall(lock)


def _wheel(name: str, target: Path) -> str:
    (found,) = target.glob(f"{name.replace('-', '_')}-*.whl")
    return str(found)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
