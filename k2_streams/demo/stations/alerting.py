"""Station 4: Prometheus scrapes the worker; it stops, the alert fires, the runbook resolves it."""

import re
import time
from pathlib import Path

from k2_streams.demo.stations.tour import Tour
from k2_streams.testing.local.prometheus import Prometheus

ALERT = "K2WorkerDown"
#: As shipped, in the checkout that this file is in.
RULES = Path(__file__).resolve().parents[3] / "deploy" / "prometheus" / "alerts.yml"
#: Questions that make requests to count.
QUESTIONS = 50
RED = {
    "requests per second": "sum(rate(k2_http_requests_total[15s]))",
    "errors per second": 'sum(rate(k2_http_requests_total{status=~"5.."}[15s])) or vector(0)',
    "p99 of a request, s": (
        "histogram_quantile(0.99, sum by (le) (rate(k2_http_request_seconds_bucket[15s])))"
    ),
}


def show(tour: Tour) -> None:
    """Rate, errors and duration; then an alert from its cause to its end.

    Raises:
        NoPrometheusError: there is none.
    """
    tour.page("operations")
    tour.start_flow("LIVE")
    folder = tour.stage.directory / "prometheus"
    rules = folder / "alerts.yml"
    folder.mkdir(parents=True, exist_ok=True)
    rules.write_text(impatient(RULES.read_text()))
    with Prometheus(folder, tour.worker.url, rules) as prometheus:
        tour.say(f"Prometheus  {prometheus.url}/alerts")
        _show_requests(tour, prometheus)
        _raise_and_resolve(tour, prometheus)


def impatient(rules: str) -> str:
    """The same rules, whose `for` counts minutes as seconds: nobody wants to watch them pass."""
    return re.sub(r"^(\s+for: \d+)m$", r"\1s", rules, flags=re.MULTILINE)


def _show_requests(tour: Tour, prometheus: Prometheus) -> None:
    tour.wait("a scrape", lambda: prometheus.query("k2_ready == 1"))
    for _ in range(QUESTIONS):
        tour.json("/v1/symbols", exchange="LIVE")
    tour.wait("a rate", lambda: _value(prometheus, RED["requests per second"]) > 0)
    found = {name: _value(prometheus, query) for name, query in RED.items()}
    tour.expect(
        "requests are counted, and none failed",
        ", ".join(f"{name} {value:.3g}" for name, value in found.items()),
        holds=found["requests per second"] > 0 and found["errors per second"] == 0,
    )


def _value(prometheus: Prometheus, query: str) -> float:
    series = prometheus.query(query)
    return float(series[0]["value"][1]) if series else 0.0


def _raise_and_resolve(tour: Tour, prometheus: Prometheus) -> None:
    tour.say("\nThe worker is stopped. (Of the rules each minute of waiting is a second here.)")
    stopped = tour.worker.stop()
    began = time.monotonic()

    def firing() -> bool:
        return prometheus.alerts().get(ALERT, {}).get("state") == "firing"

    fired = tour.wait(f"{ALERT} fires", firing) - began
    notes = prometheus.alerts()[ALERT]["annotations"]
    tour.say(f"  ! {ALERT}: {notes['summary']}\n    {notes['runbook_url']}")
    tour.expect(
        f"{ALERT} fires", f"after {fired:.1f} s; the worker had ended with {stopped}", holds=True
    )

    tour.say("\nThe runbook: start the worker again with the same K2_WORKER_ID.")
    tour.console.print(
        "$ K2_WORKER_ID=0 faust -A topologies.trades worker -l info", style="cyan", soft_wrap=True
    )
    began = time.monotonic()
    tour.stage.start(0).wait_ready()
    resolved = tour.wait(f"{ALERT} is resolved", lambda: ALERT not in prometheus.alerts())
    tour.expect(f"{ALERT} is resolved", f"after {resolved - began:.1f} s", holds=True)
