"""The rules with all their times divided by one factor: an incident of an hour takes two minutes.

Expressions, thresholds and labels stay as they are. Divided are how long a condition must hold
(`for`), the windows of ranges, and offsets.
"""

import re
from typing import Any

import yaml

from deploy.tools import ROOT

RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
#: Of all times. The shortest window, five minutes, is ten scrapes then.
FACTOR = 30
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_RANGE = re.compile(r"\[(\d+)([smhdw])\]")
_OFFSET = re.compile(r"offset (\d+)([smhdw])")


def compressed(factor: int = FACTOR) -> dict[str, Any]:
    """The rules of `deploy/prometheus/alerts.yml`, as Prometheus reads them."""
    rules: dict[str, Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            number, unit = rule["for"][:-1], rule["for"][-1]
            rule["for"] = _divided(number, unit, factor)
            rule["expr"] = _RANGE.sub(
                lambda found: f"[{_divided(found[1], found[2], factor)}]", rule["expr"]
            )
            rule["expr"] = _OFFSET.sub(
                lambda found: f"offset {_divided(found[1], found[2], factor)}", rule["expr"]
            )
    return rules


def alert_names() -> list[str]:
    """Of all rules, in their order."""
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule["alert"] for group in rules["groups"] for rule in group["rules"]]


def _divided(number: str, unit: str, factor: int) -> str:
    milliseconds = int(number) * _UNITS_S[unit] * 1_000 // factor
    return f"{milliseconds}ms"
