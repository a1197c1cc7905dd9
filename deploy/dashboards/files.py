"""The dashboards as Grafana reads them: JSON with variables, panels and queries."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.dashboards.panels import DASHBOARDS, Dashboard, Panel, Target
from k2_streams.runtime.metrics.reference import declarations

FOLDER = Path(__file__).parents[1] / "grafana" / "dashboards"
#: Of Grafana's dashboard model; older ones are raised when they are loaded.
SCHEMA_VERSION = 39
WIDTH, PANEL_WIDTH, PANEL_HEIGHT, ROW_HEIGHT = 24, 8, 8, 1
WINDOW = "$__rate_interval"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_SELECTOR = re.compile(r"\b(k2_\w+)(?:{([^}]*)})?")
_PARTS = ("_bucket", "_sum", "_count")
_LABELS = {each.name: {label.name for label in each.labels} for each in declarations()}


class UnknownMetricError(ValueError):
    """A panel asks for a metric that no worker declares."""


def expression(target: Target) -> str:
    """A query with the dashboard's variables in each selector.

    Raises:
        UnknownMetricError: a metric is not declared.
    """
    return _SELECTOR.sub(_with_variables, target.expression).replace("[@]", f"[{WINDOW}]")


def _with_variables(found: re.Match[str]) -> str:
    name, matchers = found[1], found[2]
    declared = next((name.removesuffix(part) for part in _PARTS if name.endswith(part)), name)
    labels = _LABELS.get(declared)
    if labels is None:
        raise UnknownMetricError(f"{name} is not a metric of a worker")
    variables = ['instance=~"$instance"']
    if "stream" in labels:
        variables.append('stream=~"$stream"')
    return f"{name}{{{','.join([*variables, *filter(None, [matchers])])}}}"


def dashboard(declared: Dashboard) -> dict[str, Any]:
    """A dashboard in Grafana's model."""
    return {
        "uid": declared.name,
        "title": declared.title,
        "tags": ["k2"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": list(_panels(declared)),
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        _label_variable("instance", "k2_ready"),
        _label_variable("stream", "k2_tail_rows"),
    ]


def _label_variable(label: str, metric: str) -> dict[str, Any]:
    """The values of a label. "All" is any value: a list of them would be cut where it is long."""
    return {
        "name": label,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": f"label_values({metric}, {label})", "refId": label},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panels(declared: Dashboard) -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for row in declared.rows:
        number += 1
        at = {"x": 0, "y": top, "w": WIDTH, "h": ROW_HEIGHT}
        yield {
            "id": number, "type": "row", "title": row.title, "collapsed": False,
            "gridPos": at, "panels": [],
        }  # fmt: skip
        top += ROW_HEIGHT
        per_line = WIDTH // PANEL_WIDTH
        for place, panel in enumerate(row.panels):
            number += 1
            line, column = divmod(place, per_line)
            yield _panel(panel, number, column * PANEL_WIDTH, top + line * PANEL_HEIGHT)
        top += -(-len(row.panels) // per_line) * PANEL_HEIGHT


def _panel(panel: Panel, number: int, left: int, top: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": {"x": left, "y": top, "w": PANEL_WIDTH, "h": PANEL_HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "expr": expression(target),
                "legendFormat": target.legend,
            }
            for place, target in enumerate(panel.targets)
        ],
    }


def texts() -> dict[Path, str]:
    """Every file, by its path."""
    return {
        FOLDER / f"{each.name}.json": json.dumps(dashboard(each), indent=2) + "\n"
        for each in DASHBOARDS
    }
