"""The mutants apply to the source as it is, and a few of them are built and noticed."""

import ast

import pytest

from mutants.__main__ import HEAD, updated
from mutants.harness import ROOT, ChangeDoesNotApplyError, caught, changed, mutated
from mutants.registry import MUTANTS, Change

#: Of tests that take a second; `make mutants` runs all.
QUICK = ("off-by-one-in-a-range",)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_applies_and_the_test_that_must_notice_exists(mutant):
    files = mutated(mutant)
    assert files
    for file, text in files.items():
        before = (ROOT / "k2_streams" / file).read_text()
        assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(before))
    file, _, name = mutant.caught_by.partition("::")
    assert f"def {name}" in (ROOT / file).read_text()


def test_there_are_twenty_and_no_two_are_the_same():
    assert len(MUTANTS) >= 20
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert len({mutant.changes for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("source", ["", "ab ab"])
def test_a_change_that_no_longer_applies_is_an_error(source):
    with pytest.raises(ChangeDoesNotApplyError, match="once"):
        changed(source, Change("a.py", "ab", "c"))


def test_writing_one_row_keeps_the_others():
    names = [mutant.name for mutant in MUTANTS]
    before = HEAD + "".join(f"| {name} | broken | `a test` |\n" for name in names)
    changed_row = f"| {names[3]} | broken | `another test` |"
    after = updated(before, {names[3]: changed_row})
    different = [
        pair
        for pair in zip(before.splitlines(), after.splitlines(), strict=True)
        if len({*pair}) > 1
    ]
    assert different == [(f"| {names[3]} | broken | `a test` |", changed_row)]


def test_rows_follow_the_registry_and_those_of_no_mutant_go():
    first, second = (one.name for one in MUTANTS[:2])
    stale = f"{HEAD}| gone | x | y |\n| {second} | x | y |\n"
    expected = f"{HEAD}| {first} | x | z |\n| {second} | x | y |\n"
    assert updated(stale, {first: f"| {first} | x | z |"}) == expected


@pytest.mark.parametrize("name", QUICK)
def test_a_mutant_is_noticed(name, tmp_path):
    (mutant,) = (known for known in MUTANTS if known.name == name)
    found = caught(mutant, tmp_path)
    assert found.test is not None, found.output
    assert found.test.startswith(mutant.caught_by)
