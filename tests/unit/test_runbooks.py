"""`make runbooks`: which alerts it causes, what it runs, and the rules that it evaluates."""

import re
import subprocess
from contextlib import contextmanager
from types import SimpleNamespace

import psutil
import pytest
import yaml
from documents import ROOT, blocks
from promtool_program import promtool

from deploy.runbooks.compressed import FACTOR, RULES, alert_names, compressed
from deploy.runbooks.incidents import INCIDENTS, Incident
from deploy.runbooks.not_injected import NOT_INJECTED
from deploy.runbooks.pages import FOLDER, commands_of, page_of
from deploy.runbooks.run import run
from deploy.runbooks.scene import CommandsFailedError, Scene
from k2_streams.testing.waiting import wait_until

CAUSED = [alert for incident in INCIDENTS for alert in incident.alerts]


def declared():
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_an_alert_is_either_caused_or_has_a_reason_why_it_is_not():
    assert sorted([*CAUSED, *NOT_INJECTED]) == sorted(alert_names())
    assert all(NOT_INJECTED.values())
    assert len(CAUSED) >= 25


def test_the_page_of_an_alert_is_its_runbook():
    for alert, rule in declared().items():
        assert page_of(alert) == ROOT / rule["annotations"]["runbook_url"]


def test_commands_that_are_said_to_run_are_of_alerts_that_are_caused():
    for page in FOLDER.glob("*.md"):
        run = [block for block in blocks(page) if block.run == "runbook"]
        alerts = [alert for alert in CAUSED if page_of(alert) == page]
        assert bool(run) <= bool(alerts), page
        followed = "".join(
            commands_of(alert, heading) for alert in alerts for heading in ("Diagnosis", "Remedy")
        )
        assert followed == "".join(block.text for block in run), "each is below a known heading"
        assert not [b for b in blocks(page) if alerts and b.options.get("reason") == "operator"]


def test_every_alert_that_is_caused_has_something_to_follow():
    for incident in INCIDENTS:
        commands = "".join(commands_of(alert, "Remedy") for alert in incident.alerts)
        assert commands or incident.remedy, incident.alerts


@pytest.mark.parametrize("alert", CAUSED)
def test_commands_are_what_a_shell_reads(alert):
    script = commands_of(alert, "Diagnosis") + commands_of(alert, "Remedy")
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)  # noqa: S607
    assert done.returncode == 0, done.stderr


def test_times_are_divided_and_nothing_else_is_changed():
    before = declared()
    for group in compressed()["groups"]:
        for rule in group["rules"]:
            old = before[rule["alert"]]
            assert rule["labels"] | rule["annotations"] == old["labels"] | old["annotations"]
            pairs = zip(spans(old), spans(rule), strict=True)
            assert all(was == pytest.approx(FACTOR * now) for was, now in pairs)
            assert plain(old["expr"]) == plain(rule["expr"])


def spans(rule):
    """Every length of time of a rule, in seconds."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
    text = f"[{rule['for']}] {rule['expr']}"
    found = re.findall(r"(?:\[|offset )(\d+)(ms|[smhdw])", text)
    return [int(number) * units[unit] for number, unit in found]


def plain(expression):
    return re.sub(r"\d+(ms|[smhdw])\b", "", expression)


def test_prometheus_reads_the_divided_rules(tmp_path):
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump(compressed()))
    done = subprocess.run(
        [promtool(), "check", "rules", str(file)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


# -- a run -----------------------------------------------------------------------------------------


def scene_of(folder, within_s=10.0):
    """Commands can be followed on it; there is no worker."""
    stage = SimpleNamespace(
        workers={0: SimpleNamespace(port=1)}, environment=lambda more: {"HOME": "/", **more}
    )
    return Scene(folder, stage, prometheus=None, commands_within_s=within_s)


def test_commands_that_do_not_end_are_ended_with_what_they_have_begun(tmp_path):
    begun = tmp_path / "begun"
    scene = scene_of(tmp_path, within_s=0.5)
    with pytest.raises(CommandsFailedError, match=r"did not end within 0.5 s\nbegun"):
        scene.follow(f"echo begun\nsleep 600 &\necho $! > {begun}\nwait\n")
    wait_until(lambda: not psutil.pid_exists(int(begun.read_text())), "what was begun has ended")


def test_a_command_that_fails_ends_those_behind_it(tmp_path):
    with pytest.raises(CommandsFailedError, match=r"ended with 1\none$"):
        scene_of(tmp_path).follow("echo one\nfalse\necho two\n")


class CalmScene:
    """Alerts fire and resolve at once; the commands of one page fail."""

    def __init__(self, failing):
        self.worker = SimpleNamespace(wait_ready=lambda: None)
        self.stage = SimpleNamespace(truths=[], produce=lambda *_: None)
        self._failing = failing

    def wait_firing(self, alert, *, firing=True):
        pass

    def follow(self, commands):
        if commands and commands == self._failing:
            raise CommandsFailedError("it failed")

    def differences(self):
        return ""


@contextmanager
def nothing(_scene):
    yield


def test_what_fails_is_of_one_alert_and_the_next_incident_has_a_new_scene():
    made = []

    @contextmanager
    def scenes():
        made.append(CalmScene(commands_of("K2ProcessingErrors", "Remedy")))
        yield made[-1]

    incidents = [
        Incident(alerts, "nothing", nothing)
        for alerts in (("K2DeadLetters",), ("K2ProcessingErrors", "K2TopicAltered"), ("K2NoData",))
    ]
    found = {one.alert: one.problem for one in run(incidents, scenes)}
    assert found == {
        "K2DeadLetters": "", "K2ProcessingErrors": "it failed",
        "K2TopicAltered": "", "K2NoData": "",
    }  # fmt: skip
    assert len(made) == 2
