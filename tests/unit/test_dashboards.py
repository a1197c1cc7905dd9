"""`deploy/grafana`: dashboards made from their table, of metrics that a worker has."""

import json
import re
import subprocess
from typing import Any

import pytest
import yaml
from metric_selectors import selectors, unknown, unknown_groups
from promtool_program import promtool

from deploy.dashboards.files import FOLDER, WINDOW, UnknownMetricError, expression, texts
from deploy.dashboards.panels import DASHBOARDS, Target

ROOT = FOLDER.parents[2]
FILES: dict[str, dict[str, Any]] = {
    file.stem: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))
}
QUERIES = [
    target["expr"]
    for dashboard in FILES.values()
    for panel in dashboard["panels"]
    for target in panel.get("targets", ())
]


def test_the_files_are_what_the_table_says():
    found = {file: file.read_text() for file in FOLDER.glob("*")}
    assert found == texts(), "run `make dashboards`"


def test_the_rows_are_the_stations_of_the_demo():
    titles = [row.title for row in DASHBOARDS[0].rows]
    assert titles == ["Ingest", "Storage", "Correctness", "Queries", "Maintenance"]


def test_every_metric_of_a_panel_is_declared():
    assert len(QUERIES) > 50
    wrong = {query: unknown(*one) for query in QUERIES for one in selectors(query)}
    assert {query: why for query, why in wrong.items() if why} == {}


def test_every_query_groups_by_labels_that_its_series_have():
    assert {query: unknown_groups(query) for query in QUERIES if unknown_groups(query)} == {}


@pytest.mark.parametrize("query", ["sum(k2_lagging)", 'k2_tasks{state="sleeping"}'])
def test_a_panel_of_a_metric_or_a_value_that_no_worker_has_is_found(query):
    assert any(unknown(*one) for one in selectors(query))


def test_the_table_refuses_a_metric_that_is_not_declared():
    with pytest.raises(UnknownMetricError, match="k2_lagging is not a metric"):
        expression(Target("sum(k2_lagging)", ""))


def test_every_series_follows_the_variables():
    for query in QUERIES:
        for series, matchers in selectors(query):
            assert 'instance=~"$instance"' in matchers, query
            assert ('stream=~"$stream"' in matchers) == (unknown(series, 'stream="x"') is None)


def test_a_variable_of_labels_has_an_any_value():
    for dashboard in FILES.values():
        variables = {one["name"]: one for one in dashboard["templating"]["list"]}
        assert list(variables) == ["datasource", "instance", "stream"]
        assert all(variables[name]["allValue"] == ".*" for name in ("instance", "stream"))


def test_a_rate_is_taken_over_grafana_s_window():
    for query in QUERIES:
        assert re.findall(r"\[([^]]*)]", query) == [WINDOW] * query.count("[")
        assert ("rate(" in query) == (WINDOW in query)


def test_panels_are_told_by_their_titles_and_do_not_overlap():
    for dashboard in FILES.values():
        panels = dashboard["panels"]
        assert len({panel["title"] for panel in panels}) == len(panels)
        assert len({panel["id"] for panel in panels}) == len(panels)
        cells = [
            (x, y)
            for at in (panel["gridPos"] for panel in panels)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        ]
        assert len(set(cells)) == len(cells)
        assert max(x for x, _ in cells) < 24


def test_prometheus_reads_every_query(tmp_path):
    rules = [
        {"record": f"query:{number}", "expr": query.replace(WINDOW, "1m")}
        for number, query in enumerate(QUERIES)
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        [promtool(), "check", "rules", str(file)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_is_provisioned_with_the_dashboards_and_a_source():
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (provider,) = yaml.safe_load((folder / "dashboards/k2.yml").read_text())["providers"]
    compose = yaml.safe_load((ROOT / "deploy/compose/compose.yml").read_text())
    mounts = compose["services"]["grafana"]["volumes"]
    assert f"../grafana/dashboards:{provider['options']['path']}:ro" in mounts
    assert "../grafana/provisioning:/etc/grafana/provisioning:ro" in mounts
