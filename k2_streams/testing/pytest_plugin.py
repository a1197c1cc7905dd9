"""pytest's fixture `k2_driver`, there in every test of whoever has K2 installed."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from k2_streams.testing.driver import StreamDriver


@pytest.fixture
def k2_driver() -> "Iterator[Callable[..., StreamDriver]]":
    """Makes `StreamDriver`s, with the arguments of the class, and closes them after the test.

    def test_a_gap_is_found(k2_driver):
        driver = k2_driver(app, partitions=2)
    """
    from k2_streams.testing.driver import StreamDriver  # noqa: PLC0415 - not in every pytest run

    made: list[StreamDriver] = []

    def new_driver(app: Any, **options: Any) -> StreamDriver:
        made.append(StreamDriver(app, **options))
        return made[-1]

    yield new_driver
    for driver in reversed(made):
        driver.close()
