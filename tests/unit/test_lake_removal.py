"""A stream's table is removed with its files, and a look creates nothing."""

from pathlib import Path

import pytest
from lake_rows import World, append

from k2_streams.core.records.stream import QUOTES, TRADES
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.errors import LakeConfigError
from k2_streams.lake.removal import TableState, remove_table, table_state
from k2_streams.lake.table import Lake


def files_in(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file()]


def test_a_table_is_removed_with_all_its_files_and_another_one_stays(tmp_path: Path) -> None:
    world = World(tmp_path)
    Lake(world.config, stream=QUOTES).ensure()
    quotes = [one for one in files_in(tmp_path / "warehouse") if "quotes" in str(one)]
    assert table_state(world.config, TRADES) is TableState.EMPTY
    append(world.writer(), 0, 0, 5)
    append(world.writer(), 1, 0, 5)
    assert table_state(world.config, TRADES) is TableState.FILLED
    remove_table(world.config, TRADES)
    assert table_state(world.config, TRADES) is TableState.ABSENT
    assert files_in(tmp_path / "warehouse") == quotes
    assert table_state(world.config, QUOTES) is TableState.EMPTY
    remove_table(world.config, TRADES)  # once more: there is nothing to do


def test_a_look_at_a_lake_that_does_not_exist_creates_nothing(tmp_path: Path) -> None:
    config = LakeConfig(f"sqlite:///{tmp_path}/catalog.db", f"{tmp_path}/warehouse")
    assert table_state(config, TRADES) is TableState.ABSENT
    remove_table(config, TRADES)
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(LakeConfigError, match="K2_CATALOG_URI"):
        table_state(LakeConfig("no address", f"{tmp_path}/warehouse"), TRADES)
