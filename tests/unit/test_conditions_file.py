"""The file of rules for conditions: what it says, and what of it is refused with its line."""

import pytest

from k2_streams.core.query.bars.conditions import ConditionRule, ConditionRules
from k2_streams.runtime.settings.conditions import MAX_BYTES, ConditionsError, load
from k2_streams.runtime.settings.lake_groups import LakeSettings

HEADER = "exchange,condition,updates_open_close,updates_high_low,updates_volume\n"


def written(folder, text):
    path = folder / "conditions.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_rule_per_line_says_what_its_trades_count_for(tmp_path):
    path = written(tmp_path, f"\ufeff{HEADER}X,odd,false,FALSE,true\nY,odd,true,true,true\n")
    rules = load(path)
    assert rules.excluded("updates_open_close") == ["X:odd"]
    assert rules.excluded("updates_high_low") == ["X:odd"]
    assert rules.excluded("updates_volume") == []
    settings = LakeSettings(conditions_file=str(path))
    assert settings.conditions_file.excluded("updates_open_close") == ["X:odd"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1: expected the columns exchange, condition"),
        ("exchange,condition\n", "line 1: expected the columns"),
        (f"{HEADER}X,odd,false,false\n", "line 2: expected as many values as columns"),
        (f"{HEADER}X,odd,no,false,true\n", "line 2: updates_open_close: expected true or false"),
        (f"{HEADER}X,,false,false,true\n", "line 2: expected an exchange and a condition"),
        (f"{HEADER}X,o,true,true,true\nX,o,true,true,true\n", "two rules for condition 'o' of X"),
        (HEADER.encode() + b"X,\xff,true,true,true\n", "line 2: expected UTF-8"),
        (b"x" * (MAX_BYTES + 1), f"at most {MAX_BYTES} bytes"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, expected):
    with pytest.raises(ConditionsError) as refused:
        load(written(tmp_path, text))
    assert expected in str(refused.value)
    assert "conditions.csv" in str(refused.value)


def test_two_rules_for_one_condition_contradict_each_other():
    rule = ConditionRule("X", "o", *(True,) * 3)
    assert ConditionRules((rule, rule._replace(exchange="Y"))).excluded("updates_volume") == []
    with pytest.raises(ValueError, match="two rules"):
        ConditionRules((rule, rule._replace(updates_volume=False)))
