"""The n-th smallest or largest of pieces is that of all values sorted, in bounded memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.core.query import ranked as module
from k2_streams.core.query.ranked import ranked

INT64 = st.integers(-(2**63), 2**63 - 1)
PIECES = st.lists(st.lists(st.one_of(INT64, st.integers(0, 5)), max_size=20), max_size=8)


@pytest.fixture(autouse=True)
def small_spare(monkeypatch):
    monkeypatch.setattr(module, "SPARE_VALUES", 3)


@given(PIECES, st.integers(1, 30), st.booleans())
def test_it_is_the_value_at_that_place_of_all_sorted(pieces, rank, largest):
    values = sorted((value for piece in pieces for value in piece), reverse=largest)
    expected = values[rank - 1] if rank <= len(values) else None
    found = ranked((np.array(piece, np.int64) for piece in pieces), rank, largest=largest)
    assert found == expected


def test_no_more_than_the_rank_and_some_values_are_kept(monkeypatch):
    sizes = []
    concatenate = np.concatenate

    def measured(arrays):
        joined = concatenate(arrays)
        sizes.append(len(joined))
        return joined

    monkeypatch.setattr(module.np, "concatenate", measured)
    pieces = (np.arange(10 * n, 10 * n + 10) for n in range(1_000))
    assert ranked(pieces, 7, largest=True) == 9_993
    assert max(sizes) < 7 + 3 + 10
