"""The commands of a runbook: blocks `sh run=runbook`, below the heading that says when."""

import re
from pathlib import Path
from typing import Literal

from deploy.tools import ROOT

FOLDER = ROOT / "docs" / "runbooks"
Heading = Literal["Diagnosis", "Remedy"]
_BLOCK = re.compile(r"^```sh run=runbook\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def page_of(alert: str) -> Path:
    """The runbook of an alert: `K2LagHigh` has `lag-high.md`."""
    words = re.findall(r"[A-Z][a-z]*", alert.removeprefix("K2"))
    return FOLDER / f"{'-'.join(words).lower()}.md"


def commands_of(alert: str, heading: Heading) -> str:
    """All commands below a heading, as one script; empty: there are none."""
    text = page_of(alert).read_text(encoding="utf-8")
    _, _, section = text.partition(f"\n## {heading}\n")
    return "".join(_BLOCK.findall(section.partition("\n## ")[0]))
