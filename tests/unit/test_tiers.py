"""The table of tiers: what a pattern fits, and what a bad line is answered with."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from k2_streams.core.load.tiers import DEFAULT_TABLE, TierTable, TierTableError, parse
from k2_streams.runtime.deferral.overload import Tiers
from k2_streams.runtime.settings.worker import OverloadSettings


def test_the_longest_pattern_that_fits_counts() -> None:
    """A whole key before all, then the longest beginning, then tier 3."""
    table = parse("# ours\nX:A,1\nX:A*,2\nX:*,3 # the rest\nX:AB*,1\n\nY:*,2\n")
    assert [table.tier_of(key) for key in ("X:A", "X:AA", "X:ABC", "X:AB", "X:B")] == [
        1,
        2,
        1,
        1,
        3,
    ]
    assert (table.tier_of("Y:anything"), table.tier_of("Z:A"), table.tier_of("Y")) == (2, 3, 3)
    assert len(table) == 5


def test_a_star_alone_is_the_tier_of_everything_else() -> None:
    """A table may say what is not listed."""
    table = parse("*,2\nX:A,1")
    assert (table.tier_of("X:A"), table.tier_of("X:AB"), table.tier_of("")) == (1, 2, 2)


def test_a_symbol_with_a_comma_can_be_named() -> None:
    """The tier is what stands behind the last comma."""
    assert parse("X:A,B,1").tier_of("X:A,B") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("X:A", "line 1: expected PATTERN,TIER"),
        ("\nX:A,4", "line 2: expected PATTERN,TIER"),
        (",1", "line 1: expected PATTERN,TIER"),
        ("X:*A,1", "stands at the end alone"),
        ("X:A,1\nX:A,2", "line 2: 'X:A' stands there twice"),
    ],
)
def test_a_bad_line_is_named(text: str, said: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(TierTableError, match=said):
        parse(text)


def test_by_default_the_asx_20_are_tier_1_and_all_else_tier_3() -> None:
    """Twenty keys."""
    table = parse(DEFAULT_TABLE)
    assert len(table) == 20
    assert (table.tier_of("ASX:BHP"), table.tier_of("ASX:XYZ"), table.tier_of("SIM:BHP")) == (
        1,
        3,
        3,
    )


def test_a_table_is_read_with_a_byte_order_mark_and_refused_in_another_encoding(tmp_path) -> None:
    """A spreadsheet writes the one or the other."""
    path = tmp_path / "tiers.csv"
    path.write_text("X:é,1\n", encoding="utf-8-sig")
    tiers = Tiers(OverloadSettings(tiers_file=path))
    assert (tiers.error, tiers.table.tier_of("X:é")) == (None, 1)
    path.write_text("X:A,1\nX:é,2\n", encoding="latin-1")
    tiers.reload()
    assert tiers.error == "line 2: expected UTF-8, found the bytes e9 2c 32 0a: save it as UTF-8"
    assert tiers.table.tier_of("X:é") == 1


def test_a_tier_of_the_table_before_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop's thread reads another table while the tasks' thread looks a key up in this one."""
    path = tmp_path / "tiers.csv"
    path.write_text("X:*,1\n")
    tiers = Tiers(OverloadSettings(tiers_file=path))
    looked_up = TierTable.tier_of

    def meanwhile(table: TierTable, key: str) -> int:
        monkeypatch.setattr(TierTable, "tier_of", looked_up)
        path.write_text("X:*,2 # another one\n")
        tiers.reload()
        return looked_up(table, key)

    monkeypatch.setattr(TierTable, "tier_of", meanwhile)
    assert tiers.of_key(b"X:A") == 1
    record = SimpleNamespace(key=b"X:A", value=b"")
    assert tiers.of_record(record) == 2
