"""Files of an ordered answer in steps: all of them, those with the first rows first."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from query_world import World

from k2_streams.lake.plan import PlannedFile
from k2_streams.query import file_steps
from k2_streams.query.engine import Engine, EngineConfig, QuerySession
from k2_streams.query.file_steps import FIRST_FILES, FileSteps
from k2_streams.query.request import RowsRequest
from k2_streams.query.selection import Selection

TIME = "exchange_time_ns"
#: Event time and place in the log, by which rows of one time are ordered.
ROWS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=4)


@st.composite
def worlds(draw):
    """Files with their rows, and bounds that hold these or are not known."""
    files = {}
    for number in range(draw(st.integers(0, 12))):
        rows = draw(ROWS)
        low = min((time for time, _ in rows), default=0) - draw(st.integers(0, 2))
        high = max((time for time, _ in rows), default=0) + draw(st.integers(0, 2))
        bounds = (draw(st.sampled_from([low, None])), draw(st.sampled_from([high, None])))
        files[PlannedFile(f"{number}", 0, 0, *bounds)] = rows
    return files


@given(worlds(), ROWS, st.integers(1, 6), st.booleans(), st.integers(1, 3))
def test_an_answer_in_steps_is_that_of_all_files_at_once(
    files, tail, at_most, descending, first_files
):
    selection = Selection(at_most=at_most, descending=descending)
    rows_of = {file.path: rows for file, rows in files.items()}
    found = in_order(tail, selection)
    read: list[str] = []
    before, file_steps.FIRST_FILES = file_steps.FIRST_FILES, first_files
    try:
        left = FileSteps(list(files), selection, TIME)
        while some := left.next(pa.table({TIME: pa.array([row[0] for row in found], pa.int64())})):
            read += some
            found = in_order([*found, *(row for path in some for row in rows_of[path])], selection)
    finally:
        file_steps.FIRST_FILES = before
    every = [*tail, *(row for rows in files.values() for row in rows)]
    assert found == in_order(every, selection)
    assert len(set(read)) == len(read)


def in_order(rows: list[tuple[int, int]], selection: Selection) -> list[tuple[int, int]]:
    return sorted(rows, reverse=selection.descending)[: selection.at_most]


@pytest.mark.parametrize("descending", [False, True])
def test_a_file_that_begins_at_the_time_of_the_last_row_is_read(descending):
    """Its rows may stand before that row by their place in the log."""
    full = pa.table({TIME: [5]})
    selection = Selection(at_most=1, descending=descending)
    for edge_ns, is_read in ((4, descending is False), (5, True), (6, descending is True)):
        file = PlannedFile("a", 0, 0, edge_ns, edge_ns)
        assert bool(FileSteps([file], selection, TIME).next(full)) == is_read


def sizes(selection: Selection, *rows: int) -> list[int]:
    """Of the steps over 60 files, when so many rows have been found before each."""
    files = [PlannedFile(f"{n}", 0, 0, n, n) for n in range(60)]
    left = FileSteps(files, selection, TIME)
    found = [left.next(pa.table({TIME: [0] * count})) for count in rows]
    assert [path for some in found for path in some] == [
        file.path for file in files[: sum(map(len, found))]
    ]
    return [len(some) for some in found]


def test_steps_have_as_many_files_as_the_page_seems_to_need():
    assert sizes(Selection(), 0, 5) == [60, 0], "every row is wanted"
    assert sizes(Selection(at_most=90), 0, 0, 0, 0, 0) == [FIRST_FILES, 16, 32, 4, 0], "nothing yet"
    assert sizes(Selection(at_most=90), 10, 50, 70) == [FIRST_FILES, 10, 8], "5 rows of each file"
    assert sizes(Selection(at_most=90), 0, 8, 24) == [FIRST_FILES, 16, 32], "one: never too many"
    assert sizes(Selection(at_most=9), 0, 9) == [FIRST_FILES, 0], "full, and the others are later"


async def test_a_page_opens_no_more_files_than_it_needs(tmp_path, monkeypatch):
    """Newest first or oldest first, as the bounds of the files say it."""
    opened: list[str] = []
    real = QuerySession.table

    def counting(self, statement, tail, *others):
        if not others:  # a look-up of ticks goes by offsets
            lists = (value for value in statement.values if isinstance(value, list))
            opened.extend(path for paths in lists for path in paths)
        return real(self, statement, tail, *others)

    monkeypatch.setattr(QuerySession, "table", counting)
    engine = Engine(EngineConfig(allowed=(str(tmp_path),)))
    world = World(tmp_path / "lake", engine)
    monkeypatch.setattr(world.lake, "_bounds", lambda file: times_of(world, file))
    for number in range(40):
        world.add(0, [("A", number * 10), ("A", number * 10 + 1)])
        world.commit()
    await world.query.refresh()
    for descending, first in ((False, 0), (True, 390)):
        opened.clear()
        request = RowsRequest(symbols=("A",), limit=6, descending=descending)
        answer = await world.query.rows(request)
        assert answer.rows.column(TIME)[0].as_py() in {first, first + 1}
        assert len(opened) == len(set(opened)) == FIRST_FILES
    opened.clear()
    newest = RowsRequest(symbols=("A",), limit=1, descending=True)
    world.add(0, [("A", 400)])
    assert (await world.query.rows(newest)).rows.column(TIME).to_pylist() == [400]
    assert len(opened) == FIRST_FILES, "a page asks for one row more, which the tail has not"
    opened.clear()
    world.add(0, [("A", 401)])
    assert (await world.query.rows(newest)).rows.column(TIME).to_pylist() == [401]
    assert opened == [], "the tail has all that is wanted, and no file holds later rows"
    await world.query.close()
    engine.close()


def times_of(world: World, file: str) -> tuple[int, int]:
    times = [time_ns for *_, time_ns in world.lake._rows[file]]
    return min(times), max(times)
