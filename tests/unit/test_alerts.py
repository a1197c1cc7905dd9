"""`deploy/prometheus/alerts.yml`: every alert fires, not too early, and resolves."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from alert_cases import CASES, FIRED_MIN, ONSET_MIN
from metric_selectors import selectors, unknown, unknown_groups
from promtool_program import promtool

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}
LEAST_ALERTS = 30


def minutes(duration: str) -> int:
    number, unit = int(duration[:-1]), duration[-1]
    return number * {"m": 1, "h": 60}[unit]


def rendered(text: str, labels: dict[str, str]) -> str:
    """An annotation as Prometheus fills it in."""
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)


def unit_test(name: str, rules: Path) -> dict[str, Any]:
    """The alert's case as a file of `promtool test rules`."""
    rule, case = ALERTS[name], CASES[name]
    fires = {
        "exp_labels": rule["labels"] | case.labels,
        "exp_annotations": {
            key: rendered(text, case.labels) for key, text in rule["annotations"].items()
        },
    }
    # Pending from the first minute of the fault at the earliest.
    early = ONSET_MIN - 1 + minutes(rule["for"])
    waits = minutes(rule["for"])
    fired = FIRED_MIN if ONSET_MIN + waits < FIRED_MIN else ONSET_MIN + waits + 20
    times = {early: [], fired: [fires], case.resolved_min: []}
    return {
        "rule_files": [str(rules)],
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": series, "values": values} for series, values in case.series.items()
                ],
                "alert_rule_test": [
                    {
                        "eval_time": f"{case.offset_min + at}m",
                        "alertname": name,
                        "exp_alerts": expected,
                    }
                    for at, expected in times.items()
                ],
            }
        ],
    }


def run(name: str, expression: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Try the alert alone: promtool evaluates every rule of a file at every minute."""
    rules, file = folder / f"{name}.rules.yml", folder / f"{name}.yml"
    rule = ALERTS[name] | {"expr": expression}
    rules.write_text(yaml.safe_dump({"groups": [{"name": "alone", "rules": [rule]}]}))
    file.write_text(yaml.safe_dump(unit_test(name, rules)))
    return subprocess.run(
        [promtool(), "test", "rules", str(file)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_there_is_a_case_for_every_alert():
    assert list(CASES) == list(ALERTS)
    assert len(ALERTS) >= LEAST_ALERTS


def test_prometheus_reads_the_rules():
    done = subprocess.run(
        [promtool(), "check", "rules", str(RULES)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_fires_not_too_early_and_resolves(name, tmp_path):
    done = run(name, ALERTS[name]["expr"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["K2LagHigh", "K2LakeCommitStalled", "K2PartitionUnowned"])
def test_a_rule_that_never_fires_is_found(name, tmp_path):
    broken = ALERTS[name]["expr"].replace(" > ", " < -").replace(" < max", " > max")
    assert run(name, broken, tmp_path).returncode == 1


@pytest.mark.parametrize("name", ALERTS)
def test_every_series_of_a_rule_is_exposed_by_a_worker(name):
    found = [unknown(*selector) for selector in selectors(ALERTS[name]["expr"])]
    assert set(found) <= {None}


@pytest.mark.parametrize(
    "expression",
    [
        "k2_lag > 1",
        "k2_lag_seconds_bucket > 1",
        "k2_checkpoint_seconds > 1",
        'k2_tasks{state="sleeping"} > 1',
        'k2_tasks{status="running"} > 1',
    ],
)
def test_a_series_that_no_worker_exposes_is_found(expression):
    assert all(unknown(*selector) for selector in selectors(expression))


@pytest.mark.parametrize("name", ALERTS)
def test_a_rule_groups_and_joins_by_labels_that_its_series_have(name):
    assert unknown_groups(ALERTS[name]["expr"]) == []


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("sum by (worker) (k2_ready) > 1", ["k2_ready: by (worker)"]),
        ("sum by (path) (rate(k2_checkpoint_seconds_count[5m]))", [
            "k2_checkpoint_seconds_count: by (path)",
        ]),
        ("k2_ready * on (app) k2_build_info", ["k2_ready: on (app)"]),
        ("sum by (app) (k2_ready * on (instance) group_left (app) k2_build_info)", []),
        ("max(sum by (le, path) (rate(k2_http_request_seconds_bucket[5m])))", []),
    ],
)  # fmt: skip
def test_a_label_that_a_series_has_not_is_found(expression, wrong):
    assert unknown_groups(expression) == wrong


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_severity_and_a_runbook(name):
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    runbook = (ROOT / rule["annotations"]["runbook_url"]).read_text()
    assert f"`{name}`, {rule['labels']['severity']}." in runbook
    for heading in ("Meaning", "Diagnosis", "Remedy", "Check"):
        assert f"\n## {heading}\n" in runbook


def test_every_runbook_is_of_an_alert():
    pages = {path for path in (ROOT / "docs/runbooks").iterdir() if path.name != "README.md"}
    assert pages == {ROOT / rule["annotations"]["runbook_url"] for rule in ALERTS.values()}


def test_a_case_knows_the_settings_that_its_alert_names():
    settings = (ROOT / "docs/reference/settings.md").read_text()
    for name in ALERTS:
        runbook = (ROOT / ALERTS[name]["annotations"]["runbook_url"]).read_text()
        for setting in re.findall(r"`(K2_[A-Z_]+)`", runbook):
            assert f"`{setting}`" in settings, f"{name}: {setting}"
