"""Files of an ordered answer in steps: all of them, those with the first rows first."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from query_world import World

from k2_streams.lake.plan import PlannedFile
from k2_streams.query import file_steps
from k2_streams.query.engine import Engine, EngineConfig, QuerySession
from k2_streams.query.file_steps import FIRST_FILES, steps
from k2_streams.query.request import RowsRequest
from k2_streams.query.selection import Selection

TIME = "exchange_time_ns"
TIMES = st.integers(0, 9)


@st.composite
def worlds(draw):
    """Files with the times of their rows, and bounds that hold them or are not known."""
    files = {}
    for number in range(draw(st.integers(0, 12))):
        times = draw(st.lists(TIMES, max_size=4))
        low = min(times, default=0) - draw(st.integers(0, 2))
        high = max(times, default=0) + draw(st.integers(0, 2))
        planned = PlannedFile(
            f"{number}",
            0,
            0,
            draw(st.sampled_from([low, None])),
            draw(st.sampled_from([high, None])),
        )
        files[planned] = times
    return files


@given(worlds(), st.lists(TIMES, max_size=4), st.integers(1, 6), st.booleans(), st.integers(1, 3))
def test_an_answer_in_steps_is_that_of_all_files_at_once(
    files, tail, at_most, descending, first_files
):
    selection = Selection(at_most=at_most, descending=descending)
    every = sorted([*tail, *(time for times in files.values() for time in times)])
    times_of = {file.path: times for file, times in files.items()}
    found = in_order(tail, selection)
    read: list[str] = []
    before, file_steps.FIRST_FILES = file_steps.FIRST_FILES, first_files
    try:
        for step in steps(list(files), selection):
            if not step.is_needed(pa.table({TIME: pa.array(found, pa.int64())}), selection, TIME):
                break
            read += step.files
            more = [time for path in step.files for time in times_of[path]]
            found = in_order([*found, *more], selection)
    finally:
        file_steps.FIRST_FILES = before
    assert found == in_order(every, selection)
    assert len(set(read)) == len(read)
    # A row of the last one's time may stand before it by its place, so its file is read too.
    if len(found) == at_most:
        for path in set(times_of) - set(read):
            assert all(
                time < found[-1] if descending else time > found[-1] for time in times_of[path]
            )


def in_order(times: list[int], selection: Selection) -> list[int]:
    return sorted(times, reverse=selection.descending)[: selection.at_most]


def test_steps_double_and_hold_each_file_once():
    files = [PlannedFile(f"{n}", 0, 0, n, n) for n in range(60)]
    found = list(steps(files, Selection(at_most=1)))
    assert [len(step.files) for step in found] == [FIRST_FILES, 16, 32, 4]
    assert [path for step in found for path in step.files] == [file.path for file in files]
    assert [len(step.files) for step in steps(files, Selection())] == [60], "all rows are wanted"


async def test_a_page_opens_no_more_files_than_it_needs(tmp_path, monkeypatch):
    """Newest first or oldest first, as the bounds of the files say it."""
    opened: list[str] = []
    real = QuerySession.table

    def counting(self, statement, tail, sought=None):
        if sought is None:  # a look-up of ticks goes by offsets
            lists = (value for value in statement.values if isinstance(value, list))
            opened.extend(path for paths in lists for path in paths)
        return real(self, statement, tail, sought)

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
