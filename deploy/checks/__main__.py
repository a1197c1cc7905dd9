"""`python -m deploy.checks`: check the image, the compose file and the chart, as far as it goes.

Prints one line per check: `ok`, `failed` with the reason, or `skipped` with what is not here. Exits
with 1 if one failed.
"""

import sys
from collections.abc import Callable

from deploy.checks import chart, compose, image, rules
from deploy.tools import StepFailedError, ToolAbsentError

#: By what it says: each gives a text of what was done.
CHECKS: dict[str, Callable[[], str]] = {
    "Dockerfile, hadolint": image.lint,
    "Dockerfile, its steps executed": image.execute,
    "compose file, docker compose config": compose.config,
    "chart, helm lint": chart.lint,
    "chart, rendered and validated": chart.validate,
    "prometheus.yml and the chart's rules, promtool": rules.check,
}


def main() -> int:
    """Run all of them."""
    failed = 0
    for name, check in CHECKS.items():
        try:
            print(f"ok      {name}: {check()}", flush=True)
        except ToolAbsentError as absent:
            print(f"skipped {name}: {absent}", flush=True)
        except StepFailedError as error:
            failed += 1
            print(f"failed  {name}: {error}", flush=True)
    print("not checked here: base images pulled, containers run, a cluster that applies the chart")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
