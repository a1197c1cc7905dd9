"""`deploy/`: image, compose file and chart have the ports, probes and times that the code has."""

import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from deploy.image.dockerfile import FILE, stages
from k2_streams.core.records.source import TRADES_INPUT
from k2_streams.core.records.stream import TRADES
from k2_streams.runtime.faust_driver.worker_app import STOP_WITHIN_S
from k2_streams.runtime.settings.groups import FAMILIES
from k2_streams.runtime.settings.worker import declared, from_environment
from k2_streams.testing.local.workers import READY_WITHIN_S
from k2_streams.web.endpoints import declared as endpoints

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "k2-streams"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / "compose.yml").read_text())
WORKERS = {
    name: one for name, one in COMPOSE["services"].items() if name.startswith(("worker-", "query-"))
}
TEMPLATES = {file.stem: file.read_text() for file in (CHART / "templates").iterdir()}
#: Of the pods of workers and of query nodes.
POD = TEMPLATES["_helpers"]
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
IMAGE = stages(FILE.read_text())[-1]
PUBLIC = {one.path for one in endpoints((TRADES,)) if one.is_public}
SETTINGS = {one.variable for one in declared()}
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
#: Lists of files, which have versions and ports of their own.
WHERE_SETTINGS_ARE = ("image/Dockerfile", "compose/*.yml", "helm/**/*.yaml", "helm/**/*.txt")


def is_setting(variable: str) -> bool:
    """One of K2's, or a file with one."""
    name = variable.removesuffix("_FILE") if variable not in SETTINGS else variable
    return name in SETTINGS or name.startswith(tuple(family.prefix for family in FAMILIES))


def named() -> Iterator[str]:
    for pattern in WHERE_SETTINGS_ARE:
        for file in DEPLOY.glob(pattern):
            yield from re.findall(r"\bK2_[A-Z0-9_]+", file.read_text())


def test_every_setting_that_is_named_exists():
    found = set(named())
    assert {"K2_BOOTSTRAP", "K2_API_KEYS_FILE", "K2_WORKER_ID", "K2_WEB_PORT"} <= found
    assert {name for name in found if not is_setting(name)} == set()


def test_a_setting_that_does_not_exist_is_found():
    assert not is_setting("K2_PARTITION")
    assert not is_setting("K2_PARTITION_FILE")


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def test_a_worker_is_not_killed_while_it_stops():
    grace = [seconds(one["stop_grace_period"]) for one in WORKERS.values()]
    grace.append(VALUES["terminationGracePeriodSeconds"])
    assert len(grace) == 4
    assert all(STOP_WITHIN_S < one < 2 * STOP_WITHIN_S for one in grace)
    assert "{{ $root.Values.terminationGracePeriodSeconds }}" in POD


def test_the_image_s_worker_is_told_to_stop_and_is_not_root():
    assert IMAGE.last("STOPSIGNAL").text == "SIGTERM"
    assert IMAGE.last("USER").text.split(":")[0].isdecimal()
    assert IMAGE.last("USER").text != "0:0"
    assert IMAGE.last("ENTRYPOINT").words + IMAGE.last("CMD").words == shlex.split(
        "faust -A topologies.trades worker -l info"
    )
    uid = IMAGE.last("USER").text.split(":")[0]
    assert f"runAsUser: {uid}" in POD
    assert f"--uid {uid} " in FILE.read_text()


def test_every_port_is_the_code_s():
    assert int(IMAGE.last("EXPOSE").text) == TRADES_INPUT.web_port
    assert f"'K2_WEB_PORT', {TRADES_INPUT.web_port}" in IMAGE.last("HEALTHCHECK").text
    assert VALUES["port"] == TRADES_INPUT.web_port
    assert r'K2_WEB_PORT=\"$((%v - K2_WORKER_ID))\"" .Values.port' in TEMPLATES["statefulset"]
    assert '"export K2_WEB_PORT=%v" .Values.port' in TEMPLATES["query-nodes"]


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_of_the_compose_file_starts_with_these_settings(name):
    """Read as a worker reads them; the secrets' files are not here."""
    given = WORKERS[name]["environment"]
    values = {key: "x" if key.endswith("_FILE") else value for key, value in given.items()}
    values = {key.removesuffix("_FILE"): value for key, value in values.items()}
    settings = from_environment(values)
    assert name == f"{'worker' if settings.processes else 'query'}-{settings.worker_id}"
    assert WORKERS[name]["ports"] == [f"127.0.0.1:{settings.web_port}:{settings.web_port}"]
    (job,) = PROMETHEUS["scrape_configs"]
    assert f"{name}:{settings.web_port}" in job["static_configs"][0]["targets"]
    secrets = {f"/run/secrets/{secret}" for secret in WORKERS[name]["secrets"]}
    assert {value for key, value in given.items() if key.endswith("_FILE")} <= secrets


def test_a_worker_of_the_chart_starts_with_the_values_that_are_shipped():
    secrets = dict.fromkeys(VALUES["secretFiles"], "x")
    given = VALUES["settings"] | secrets | {"K2_WEB_HOST": "0.0.0.0"}  # noqa: S104
    settings = from_environment(given | {"K2_ROLE": VALUES["workerRole"]})
    assert settings.replication == 3
    assert settings.processes
    # What the templates set above the values.
    assert '(dict "K2_MAINTENANCE" "0") .Values.queryNodes.settings' in TEMPLATES["query-nodes"]
    assert '"role" "query"' in TEMPLATES["query-nodes"]
    assert not from_environment(given | {"K2_ROLE": "query", "K2_MAINTENANCE": "0"}).processes


def test_all_but_the_query_nodes_may_be_without_answers():
    """The service that is asked then has the query nodes alone."""
    chosen = re.search(r'eq .Values.workerRole "(\w+)" }}\s+selector: (.*)', TEMPLATES["services"])
    assert not from_environment({"K2_ROLE": chosen[1]}).answers
    assert '"component" "query"' in chosen[2]


@pytest.mark.parametrize(
    ("role", "query_nodes", "is_right"),
    [("all", 0, True), ("work", 1, True), ("work", 0, False), ("query", 1, False)],
)
def test_a_chart_in_which_nobody_answers_or_nobody_works_is_refused(role, query_nodes, is_right):
    schema = json.loads((CHART / "values.schema.json").read_text())
    chosen = {"workerRole": role, "queryNodes": VALUES["queryNodes"] | {"replicas": query_nodes}}
    assert jsonschema_rs.is_valid(schema, VALUES | chosen) is is_right


def test_the_probes_ask_for_paths_that_need_no_key():
    paths = set(re.findall(r"path: (/\S+?),", POD))
    paths |= set(re.findall(r"(/health/\w+)", IMAGE.last("HEALTHCHECK").text))
    assert paths == {"/health/live", "/health/ready"} <= PUBLIC
    live = POD[POD.index("livenessProbe") :]
    assert "/health/ready" not in live, "a lake that is away restarts no worker"


def test_a_start_may_take_as_long_as_a_start_takes():
    startup = VALUES["probes"]["startup"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= READY_WITHIN_S
    found = re.search(r"--start-period=(\d+)s", IMAGE.last("HEALTHCHECK").text)
    assert int(found[1]) >= READY_WITHIN_S


def test_the_alerts_find_the_job_that_is_scraped():
    alerts = (DEPLOY / "prometheus" / "alerts.yml").read_text()
    jobs = set(re.findall(r'job="(\w+)"', alerts))
    assert jobs == {one["job_name"] for one in PROMETHEUS["scrape_configs"]}
    monitoring = (CHART / "templates" / "monitoring.yaml").read_text()
    assert all(f"{{targetLabel: job, replacement: {job}}}" in monitoring for job in jobs)


def test_the_chart_has_the_rules_and_the_dashboards_that_are_tested():
    assert (CHART / "files" / "alerts.yml").resolve() == DEPLOY / "prometheus" / "alerts.yml"
    assert (CHART / "files" / "dashboards").resolve() == DEPLOY / "grafana" / "dashboards"


def test_a_container_can_write_nothing_but_its_data():
    for worker in WORKERS.values():
        assert worker["read_only"]
        assert worker["cap_drop"] == ["ALL"]
        assert worker["tmpfs"] == ["/tmp"]  # noqa: S108 - of the container
        (volume,) = worker["volumes"]
        assert volume.endswith(f":{IMAGE.last('VOLUME').text}")
    assert "readOnlyRootFilesystem: true" in POD
    assert "runAsNonRoot: true" in POD


def test_ports_are_published_on_this_machine_alone():
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


def test_one_version_stands_everywhere():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    native = tomllib.loads((ROOT / "native" / "pyproject.toml").read_text())["project"]["version"]
    crate = tomllib.loads((ROOT / "native" / "Cargo.toml").read_text())["package"]["version"]
    tags = {worker["image"].partition(":")[2] for worker in WORKERS.values()}
    assert {chart["version"], chart["appVersion"], native, crate, *tags} == {VERSION}


def pins(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][^ =\[]*)==(\S+)", file.read_text(), re.MULTILINE))


def test_the_image_has_the_versions_of_the_lock():
    everything = pins(ROOT / "requirements.lock")
    runtime, build = (pins(DEPLOY / "image" / f"{name}.lock") for name in ("runtime", "build"))
    assert runtime.items() <= everything.items()
    assert build.items() <= everything.items()
    assert set(build) == {"setuptools", "maturin"}
    needed = [
        one
        for folder in (ROOT, ROOT / "client")
        for one in tomllib.loads((folder / "pyproject.toml").read_text())["project"]["dependencies"]
    ]
    # Built from the checkout, as K2 itself.
    names = {re.match(r"[a-z0-9-]+", one)[0] for one in needed} - {"k2-client"}
    assert len(names) > 10
    assert names <= set(runtime), "run `make lock`"
    assert not {"pytest", "ruff", "mypy", "matplotlib"} & set(runtime)


def test_every_file_that_the_image_copies_is_sent_to_the_builder():
    sent = [
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]  # fmt: skip
    for stage in stages(FILE.read_text()):
        for one in stage.instructions:
            if one.keyword == "COPY" and not one.text.startswith("--from="):
                for name in one.words[:-1]:
                    assert (ROOT / name).exists(), name
                    assert any(Path(name).match(pattern) for pattern in sent), name


def test_keys_are_made_once(tmp_path):
    script = tmp_path / "make-secrets.sh"
    script.write_bytes((DEPLOY / "compose" / "make-secrets.sh").read_bytes())
    first = subprocess.run(["/bin/sh", script], capture_output=True, text=True, check=True)
    key = (tmp_path / "secrets" / "api-keys").read_text()
    assert re.fullmatch(r"[0-9a-f]{48}", key)
    assert key in first.stdout
    files = {Path(one["file"]).name for one in COMPOSE["secrets"].values()}
    assert {file.name for file in (tmp_path / "secrets").iterdir()} == files
    secret = (tmp_path / "secrets" / "s3-secret-access-key").read_text()
    assert f"STORE_SECRET={secret}" in (tmp_path / ".env").read_text()
    again = subprocess.run(["/bin/sh", script], capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert (tmp_path / "secrets" / "api-keys").read_text() == key


def test_a_dockerfile_is_read_as_docker_reads_it():
    first, last = stages(
        "ARG BASE=debian:12\n# a comment\nFROM ${BASE} AS one\nENV A=1 \\\n"
        "    # between\n    B=$A:2\n"
        'RUN a \\\n && b\nFROM x AS two\nCMD ["c", "d e"]\n'
    )
    assert (first.name, first.base, last.base) == ("one", "debian:12", "x")
    assert first.environment({"C": "3"}) == {"A": "1", "B": ":2", "C": "3"}
    assert first.last("RUN").text == "a && b"
    assert last.last("CMD").words == ["c", "d e"]
