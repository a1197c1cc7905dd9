"""The generated pages of `docs/reference` say what the declarations say."""

from itertools import groupby
from pathlib import Path

import pytest

from k2_streams.runtime.reference.pages import FOLDER, PAGES, text

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name):
    assert (ROOT / FOLDER / name).read_text() == text(name), "run `make reference`"


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_has_tables_whose_rows_have_as_many_cells_as_their_head(name):
    tables = [
        list(lines)
        for is_table, lines in groupby(text(name).splitlines(), lambda line: line.startswith("|"))
        if is_table
    ]
    assert tables
    for head, *rows in tables:
        assert [line for line in rows if line.count("|") != head.count("|")] == []
