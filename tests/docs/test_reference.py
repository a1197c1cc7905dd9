"""The generated pages of `docs/reference` say what the declarations say."""

from pathlib import Path

import pytest

from k2_streams.runtime.reference.pages import FOLDER, PAGES, text

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name):
    assert (ROOT / FOLDER / name).read_text() == text(name), "run `make reference`"


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_has_tables_whose_rows_have_as_many_cells_as_their_head(name):
    rows = [line for line in text(name).splitlines() if line.startswith("|")]
    assert rows
    width = 0
    for line in rows:
        cells = line.count("|")
        width = width or cells
        assert cells == width, line
        if line.startswith("|---"):
            width = cells
