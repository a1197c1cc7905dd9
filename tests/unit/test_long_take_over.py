"""A take-over may last as long as its restore needs: neither Faust nor the group gives up."""

import asyncio
from pathlib import Path

import pytest
from faust.tables.recovery import RebalanceAgain

import k2_streams as k2

YEAR_S = 365 * 86_400


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> k2.App:
    monkeypatch.setenv("K2_DATA_DIR", str(tmp_path))
    return k2.App("surveillance")


async def test_a_take_over_that_lasts_longer_than_faust_waits_ends_all_the_same(
    app: k2.App,
) -> None:
    """Faust took the end of its 90 s for the end of its service, and cancelled the take-over."""
    ended = []

    async def take_over() -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        ended.append(True)

    await app.tables.recovery._wait(take_over(), timeout=0)
    assert ended == [True]


async def test_a_rebalance_interrupts_a_take_over_still(app: k2.App) -> None:
    recovery = app.tables.recovery
    asyncio.get_running_loop().call_soon(recovery.signal_recovery_start.set)
    with pytest.raises(RebalanceAgain):
        await recovery._wait(asyncio.Event().wait(), timeout=0)


def test_a_member_whose_partitions_are_paused_for_days_stays_in_its_group(app: k2.App) -> None:
    """The client leaves the group of a consumer that does not poll; a paused one has no reason."""
    assert app.conf.broker_max_poll_interval > YEAR_S
