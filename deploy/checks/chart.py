"""The chart: linted, rendered for several values, and validated against Kubernetes' schemas."""

import tempfile
from collections import Counter
from pathlib import Path

import yaml

from deploy.tools import ROOT, run, tool

FOLDER = ROOT / "deploy" / "helm" / "k2-streams"
#: Values that choose among the templates' branches.
VARIANTS = {
    "default": (),
    "monitoring": ("--set", "monitoring.enabled=true"),
    "without claims": ("--set", "persistence.enabled=false"),
    "query nodes alone answer": (
        "--set", "workerRole=work,queryNodes.autoscaling.enabled=true",
    ),
    "no query node": ("--set", "queryNodes.replicas=0"),
    "open to a namespace": (
        "--set", "networkPolicy.from[0].namespaceSelector.matchLabels.name=apps",
    ),
}  # fmt: skip
#: Of the schemas; those of the last kinds are the Prometheus Operator's.
KUBERNETES, OPERATOR_KINDS = "1.31", {"ServiceMonitor", "PrometheusRule"}


def lint() -> str:
    """As helm knows it."""
    run([tool("helm"), "lint", "--strict", FOLDER])
    return "no fault"


def render(variant: str) -> str:
    """Every manifest of one variant."""
    return run(
        [tool("helm"), "template", "k2", FOLDER, "--kube-version", KUBERNETES, *VARIANTS[variant]]
    )


def validate() -> str:
    """Every manifest of every variant against the schema of its kind."""
    kinds: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="k2-chart-") as folder:
        for variant in VARIANTS:
            manifests = [one for one in yaml.safe_load_all(_yaml(render(variant))) if one]
            known = [one for one in manifests if one["kind"] not in OPERATOR_KINDS]
            file = Path(folder) / "manifests.yml"
            file.write_text(yaml.safe_dump_all(known))
            run([tool("kubernetes-validate"), "--strict", "-k", KUBERNETES, file])
            kinds.update(one["kind"] for one in known)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) + (
        f"; no schema here for {' and '.join(sorted(OPERATOR_KINDS))}"
    )


def _yaml(printed: str) -> str:
    """What helm printed, without its remarks on symbolic links."""
    return printed[printed.index("---") :]
