"""What each row took, read from a real node page by page."""

import numpy as np
import pytest
from lake_rows import NOON_NS
from web_node import ROWS, ROWS_A_RECORD, SYMBOLS, served
from web_support import application

from k2_streams.demo import tier_freshness
from k2_streams.demo.tier_freshness import waits_s
from k2_streams.testing.local.load_watch import Watched

NOON_S = NOON_NS // 10**9


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    with served(folder, lambda query: application(query, rate_limit_per_s=10_000)) as url:
        yield Watched(url, "SYN", dict.fromkeys((1, 2, 3), SYMBOLS[0]))


@pytest.mark.parametrize("page", [7, 50_000])
def test_every_row_of_the_range_is_looked_at_once(watched, monkeypatch, page):
    monkeypatch.setattr(tier_freshness, "PAGE", page)
    assert len(waits_s(watched, SYMBOLS, NOON_S, NOON_S + 100)) == ROWS
    third = waits_s(watched, SYMBOLS, NOON_S + 2, NOON_S + 3)
    assert len(third) == 2 * ROWS_A_RECORD, "the third record of two partitions"
    # Each record of this node is accepted 1 µs later than the one before, and appended a second.
    assert third == pytest.approx(np.full(len(third), -2 - 3e-6))


def test_a_look_says_how_old_the_newest_row_is(watched):
    assert watched._fresh("AAA") > 1_000
    assert watched._fresh("NOSUCH") is None
