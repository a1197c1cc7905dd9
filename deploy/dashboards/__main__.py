"""`python -m deploy.dashboards`: write the dashboards; `check`: try every panel."""

import sys

from deploy.dashboards.check import check
from deploy.dashboards.files import texts
from k2_streams.testing.local.prometheus import NoPrometheusError


def write() -> int:
    """Write `deploy/grafana/dashboards` from the table."""
    for path, text in texts().items():
        path.write_text(text)
        print(path)
    return 0


def tried() -> int:
    """Print the number of series of every query; 1 if one has none, 2 without a Prometheus."""
    try:
        found = check()
    except NoPrometheusError as error:
        print(error)
        return 2
    for one in found:
        print(f"{one.dashboard:24} {one.panel:32} {one.legend:32} {one.series:4}")
    empty = [one for one in found if not one.series]
    print(f"{len(found)} queries of {len({one[:2] for one in found})} panels, {len(empty)} empty")
    return 1 if empty else 0


if __name__ == "__main__":
    sys.exit(tried() if sys.argv[1:] == ["check"] else write())
