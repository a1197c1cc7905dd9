"""The comparison of hybrid answers finds a hole, a double and a row out of its watermark."""

import pyarrow as pa
import pytest

from bench.asker import Ledger


def _rows(*offsets: int) -> pa.Table:
    zeros = [0] * len(offsets)
    return pa.table(
        {
            "log_partition": zeros,
            "log_offset": list(offsets),
            "log_row": zeros,
            "source_partition": zeros,
            "source_offset": list(offsets),
            "source_index": zeros,
        }
    )


def test_answers_that_grow_agree() -> None:
    """Older answers of another worker too."""
    ledger = Ledger()
    ledger.compare("a", _rows(1, 2), {0: 3})
    ledger.compare("a", _rows(1, 2, 5), {0: 6})
    ledger.compare("b", _rows(1), {0: 2})
    assert (ledger.answers, ledger.wrong) == (3, [])


@pytest.mark.parametrize(
    ("offsets", "mark"),
    [
        ((1, 5), 6),  # 2 is gone
        ((1, 2, 2), 3),  # 2 is there twice
        ((1, 2, 0), 4),  # 0 was not there before
        ((1, 2, 7), 6),  # 7 is above the watermark
        ((2,), 2),  # and so is 2, with 1 gone
    ],
)
def test_answers_that_contradict_are_found(offsets: tuple[int, ...], mark: int) -> None:
    """Whatever is wrong with an answer, it is named."""
    ledger = Ledger()
    ledger.compare("a", _rows(1, 2), {0: 3})
    ledger.compare("a", _rows(*offsets), {0: mark})
    assert ledger.wrong


def test_the_same_token_gives_the_same_rows() -> None:
    """A difference is found."""
    ledger = Ledger()
    ledger.compare_again("a", _rows(1, 2), _rows(2, 1))
    assert not ledger.wrong
    ledger.compare_again("a", _rows(1, 2), _rows(1))
    assert ledger.wrong
