"""`python -m deploy.runbooks [ALERT ...]`: cause alerts, and follow their runbooks.

Prints a line per alert, and the alerts that are not caused here with the reason. Exits with 1 if an
alert did not fire or resolve, a command failed or `k2 verify` differs; with 2 without a Prometheus.
"""

import sys
from collections.abc import Sequence

from deploy.runbooks.compressed import FACTOR
from deploy.runbooks.incidents import INCIDENTS
from deploy.runbooks.not_injected import NOT_INJECTED
from deploy.runbooks.run import Outcome, run
from k2_streams.testing.local.prometheus import NoPrometheusError


def main(names: Sequence[str]) -> int:
    """Run the incidents of these alerts; without names all."""
    wanted = [one for one in INCIDENTS if not names or set(names) & set(one.alerts)]
    print(f"times of the rules divided by {FACTOR}; scraped and evaluated each second", flush=True)
    print(f"{'alert':22} {'fires':>9} {'resolves':>9}  k2 verify  cause; remedy", flush=True)
    problems = 0
    try:
        for one in run(wanted):
            print(_line(one), flush=True)
            problems += bool(one.problem)
    except NoPrometheusError as error:
        print(error)
        return 2
    print(f"\nnot caused here ({len(NOT_INJECTED)}), tried with promtool alone (`make alerts`):")
    for alert, reason in NOT_INJECTED.items():
        print(f"{alert:22} {reason}")
    return 1 if problems else 0


def _line(one: Outcome) -> str:
    if one.problem:
        return f"{one.alert:22} FAILED  {one.cause}: {one.problem}"
    return (
        f"{one.alert:22} {one.fired_s:7.1f} s {one.resolved_s:7.1f} s  agrees     {one.cause}; "
        f"{one.remedy}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
