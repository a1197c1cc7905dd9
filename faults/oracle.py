"""The outcome of a run: `k2 verify` in a process of its own, and its report in numbers."""

import json
from dataclasses import dataclass
from pathlib import Path

from faults.stage import FaultStage
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


def compare(stage: FaultStage, *truths: Path, deep: bool = False) -> Outcome:
    """Compare everything with these truths; `deep`: and the platform's parts with each other."""
    report, printed = stage.directory / "verify.json", stage.directory / "verify.log"
    report.unlink(missing_ok=True)
    options = ["--report", str(report), "--timeout", "180", "--lake-timeout", "150"]
    options.append("--deep" if deep else "--sql")
    if sum(truth_file.read(truth).rows for truth in truths) > HTTP_ROWS_MAX:
        options += ["--only", "lake", "--only", "events", "--only", "letters"]
    with printed.open("w") as log:
        code = stage.verify(*truths, options=options, output=log)
    text = printed.read_text(errors="replace")
    if not report.exists():
        return Outcome(0, 0, 0, 1, f"exit {code}\n{text[-10_000:]}")
    found = json.loads(report.read_text())
    differing = {check["name"] for check in found["checks"] if not check["agrees"]}
    rows = {ROWS_LOST, ROWS_TWICE}
    return Outcome(found["sent"], found["lost"], found["doubled"], len(differing - rows), text)
