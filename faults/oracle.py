"""What came of a run: `k2 verify` in a process of its own, and its report in numbers."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from faults.stage import K2, Stage
from k2_streams.testing.oracle import truth_file
from k2_streams.testing.oracle.report import ROWS_LOST, ROWS_TWICE

#: More rows than this are compared in the lake alone: each page of an answer is found among all
#: rows, so what that takes grows with their square.
HTTP_ROWS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the oracle found."""

    records: int  # sent and compared
    lost: int
    doubled: int
    wrong: int  # checks that differ, apart from the two
    text: str

    @property
    def figures(self) -> tuple[int, int, int, int]:
        """All that can be added up."""
        return self.records, self.lost, self.doubled, self.wrong

    @property
    def differs(self) -> bool:
        """Something is not as it should be."""
        return bool(self.lost or self.doubled or self.wrong)


def judge(stage: Stage, *truths: Path, deep: bool = False) -> Outcome:
    """Compare everything with these truths; `deep`: and the platform's parts with each other."""
    worker = min(stage.workers)
    report = stage.directory / "verify.json"
    report.unlink(missing_ok=True)
    command = [
        *K2, "verify", "--report", str(report), "--url", stage.workers[worker].url,
        "--timeout", "180", "--lake-timeout", "150", "--deep" if deep else "--sql",
    ]  # fmt: skip
    for truth in truths:
        command += ["--truth", str(truth)]
    if sum(truth_file.read(truth).rows for truth in truths) > HTTP_ROWS_MAX:
        command += ["--only", "lake", "--only", "events", "--only", "letters"]
    done = subprocess.run(
        command, env=stage.environment(), check=False, capture_output=True, text=True
    )
    if not report.exists():
        return Outcome(0, 0, 0, 1, f"exit {done.returncode}\n{done.stdout}{done.stderr[-2000:]}")
    found = json.loads(report.read_text())
    differing = {check["name"] for check in found["checks"] if not check["agrees"]}
    rows = {ROWS_LOST, ROWS_TWICE}
    return Outcome(
        found["sent"], found["lost"], found["doubled"], len(differing - rows), done.stdout
    )
