"""What Prometheus reads: its configuration, and the rules as the chart has them."""

import tempfile
from pathlib import Path

import yaml

from deploy.checks import chart
from deploy.tools import ROOT, ToolAbsentError, run, tool

FETCHED = ROOT / ".cache" / "prometheus" / "usr" / "bin" / "promtool"


def check() -> str:
    """By promtool."""
    program = str(FETCHED) if FETCHED.exists() else _installed()
    run([program, "check", "config", "--syntax-only", ROOT / "deploy/prometheus/prometheus.yml"])
    rendered = chart.render("monitoring")
    manifests = yaml.safe_load_all(rendered[rendered.index("---") :])
    (rule,) = (one for one in manifests if one and one["kind"] == "PrometheusRule")
    with tempfile.TemporaryDirectory(prefix="k2-rules-") as folder:
        file = Path(folder) / "rules.yml"
        file.write_text(yaml.safe_dump(rule["spec"]))
        run([program, "check", "rules", file])
    count = sum(len(group["rules"]) for group in rule["spec"]["groups"])
    return f"{count} rules"


def _installed() -> str:
    try:
        return tool("promtool")
    except ToolAbsentError as error:
        raise ToolAbsentError("no promtool: `make prometheus` fetches it") from error
