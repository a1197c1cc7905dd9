"""Messages that broke K2 once: one worker takes all of them, and each has its right outcome."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PARTITIONS, Cluster, reset_topics  # type: ignore[import-not-found]
from field_cases import OWN, SHARED, Case, Platform, read_cases

pytestmark = pytest.mark.integration

INSTRUMENTS = OWN / "instruments.csv"


@pytest.fixture(scope="module")
def platform(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One worker for all cases: what one case leaves behind must not disturb another."""
    reset_topics(broker)
    cluster = Cluster(broker, tmp_path_factory.mktemp("cases"))
    try:
        with cluster.worker(K2_INSTRUMENTS_FILE=str(INSTRUMENTS)) as worker:
            yield Platform(broker, worker.url, PARTITIONS)
    finally:
        cluster.close()


def cases_of(folder: Path) -> list[pytest.ParameterSet]:
    return [pytest.param(case, id=case["id"]) for case in read_cases(folder)]


@pytest.mark.parametrize("case", cases_of(OWN))
def test_an_own_case_holds(platform: Platform, case: Case) -> None:
    """Case files: tests/cases."""
    assert platform.differences(case) == [], case["why"]


@pytest.mark.skipif(not SHARED.exists(), reason="no cases beside the checkout (../shared/cases)")
@pytest.mark.parametrize("case", cases_of(SHARED))
def test_a_case_from_outside_holds(platform: Platform, case: Case) -> None:
    """Case files: beside the checkout."""
    assert platform.differences(case) == [], case["why"]
