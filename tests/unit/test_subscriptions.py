"""Subscriptions at their seams: rows seen late, a reader that falls back, a lake that is away."""

import pyarrow as pa
import pytest
from query_world import T0, TOPIC_ID, World
from web_support import trades_table

from k2_streams.query.engine import Engine, EngineConfig
from k2_streams.query.errors import TooMuchError
from k2_streams.query.result import copied
from k2_streams.query.subscription import reader
from k2_streams.query.subscription import subscription as subscriptions
from k2_streams.query.subscription.frames import EndFrame, FrameSizes, ProgressFrame, RowsFrame
from k2_streams.query.subscription.request import StreamRequest
from k2_streams.query.token import StreamToken, Token


class AmpleRoom:
    """Room for all rows of a test."""

    held = 0
    is_ample = True

    def take(self, *, is_paced):
        assert not is_paced
        self.held += 1
        return 100

    def holds(self, size_bytes):
        assert size_bytes >= 0

    def give_back(self):
        self.held = 0


@pytest.fixture
async def world(tmp_path, monkeypatch):
    monkeypatch.setattr(subscriptions, "PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr(subscriptions, "RETRY_AFTER_S", 0.0)
    engine = Engine(EngineConfig(allowed=(str(tmp_path),)))
    found = World(tmp_path / "lake", engine)
    yield found
    await found.view.close()
    engine.close()


async def next_rows(frames):
    """The symbols of the next frame of rows."""
    for _ in range(10):
        frame = await anext(frames)
        if isinstance(frame, RowsFrame):
            return frame.rows["symbol"].to_pylist()
    raise AssertionError("no rows come")


async def test_rows_that_are_seen_late_are_given_though_they_were_accepted_before(world):
    world.log.append(0, [("A", T0)], accepted_us=1_000_000)
    world.read_tail(0)
    subscription = await world.query.subscribe(StreamRequest(begin="begin"))
    frames = subscription.frames(AmpleRoom(), FrameSizes(10))
    assert await next_rows(frames) == ["A"]
    # Another worker's sink is ahead of what this node has read of that partition.
    world.log.append(1, [("B", T0)], accepted_us=500_000)
    world.commit(0)
    world.commit(1)
    await world.query.refresh()
    assert await next_rows(frames) == ["B"]
    assert subscription.fallbacks == 1


async def test_a_range_ends_at_its_end_and_not_where_the_node_has_no_more(world):
    world.log.append(0, [("A", T0)])
    world.log.append(1, [("B", T0)])
    world.read_tail(0)
    end = Token(TOPIC_ID, dict(world.log.ends), T0, 0)
    subscription = await world.query.subscribe(StreamRequest(begin="begin", end=end))
    frames = subscription.frames(AmpleRoom(), FrameSizes(10))
    assert await next_rows(frames) == ["A"]
    assert [isinstance(await anext(frames), ProgressFrame) for _ in range(3)] == [True] * 3
    world.read_tail(1)
    assert await next_rows(frames) == ["B"]
    last = [frame async for frame in frames][-1]
    assert isinstance(last, EndFrame)
    assert last.rows == 2


async def test_an_error_that_may_pass_is_told_and_the_stream_goes_on(world):
    world.add(0, [("A", T0)])
    world.commit()
    await world.query.refresh()
    world.tail.seek(1, 0, ready_at=5)  # the node is starting: it has not read so far yet
    room = AmpleRoom()
    subscription = await _opened(world)
    frames = subscription.frames(room, FrameSizes(10))
    await anext(frames)
    frame = await anext(frames)
    assert isinstance(frame, ProgressFrame)
    assert "not read that far" in frame.waits_for
    assert room.held == 0
    world.tail.seek(1, 0)
    assert await next_rows(frames) == ["A"]
    assert (await anext(frames)).waits_for is None
    await frames.aclose()
    assert room.held == 0


async def test_a_subscription_from_an_event_time_goes_on_from_that_time(world):
    world.log.append(0, [("A", T0), ("B", T0 + 5)])
    world.read_tail(0)
    begun = await world.query.subscribe(StreamRequest(begin=T0 + 3, end="end"))
    first = await anext(begun.frames(AmpleRoom(), FrameSizes(10)))
    request = StreamRequest(begin=StreamToken.decode(first.token), end="end")
    resumed = await world.query.subscribe(request)
    frames = [frame async for frame in resumed.frames(AmpleRoom(), FrameSizes(10))]
    given = [f.rows["symbol"].to_pylist() for f in frames if isinstance(f, RowsFrame)]
    assert given == [["B"]]


async def test_the_rest_of_a_record_comes_before_rows_that_were_accepted_earlier(world):
    """A row of another record would say that the rest of this one is given."""
    token = await _within_a_record(world)
    world.log.append(1, [("B", T0)], accepted_us=500_000)
    world.read_tail(1)
    resumed = await world.query.subscribe(StreamRequest(begin=token))
    frames = resumed.frames(AmpleRoom(), FrameSizes(10))
    assert [await next_rows(frames), await next_rows(frames)] == [["A3"], ["B"]]


async def test_the_rest_of_a_record_is_waited_for_by_a_node_that_has_not_read_it(world):
    token = await _within_a_record(world)
    world.log.append(1, [("B", T0)], accepted_us=500_000)
    world.tail.seek(0, 0)  # as a node that is behind
    world.read_tail(1)
    resumed = await world.query.subscribe(StreamRequest(begin=token))
    frames = resumed.frames(AmpleRoom(), FrameSizes(10))
    waited = [await anext(frames) for _ in range(3)]
    assert [isinstance(frame, ProgressFrame) for frame in waited] == [True] * 3
    assert StreamToken.decode(waited[-1].token).partial == token.partial
    world.read_tail(0)
    assert [await next_rows(frames), await next_rows(frames)] == [["A3"], ["B"]]


async def test_a_frame_keeps_its_own_rows_alone_and_not_all_that_were_read(world):
    """A reader that stalls keeps its frame, and the room of the rest is given back."""
    world.log.append(0, [(f"S{number:030}", T0) for number in range(100)])
    world.read_tail(0)
    subscription = await world.query.subscribe(StreamRequest(begin="begin"))
    frames = subscription.frames(AmpleRoom(), FrameSizes(1))
    await anext(frames)
    frame = await anext(frames)
    assert frame.rows.num_rows == 1
    read = subscription._chunk.rows
    assert frame.rows.get_total_buffer_size() < read.get_total_buffer_size() / 10
    await frames.aclose()


async def _within_a_record(world):
    """The token behind two of the three rows of the first record."""
    world.log.append(0, [(f"A{number}", T0) for number in (1, 2, 3)], accepted_us=1_000_000)
    world.read_tail(0)
    subscription = await world.query.subscribe(StreamRequest(begin="begin"))
    frames = subscription.frames(AmpleRoom(), FrameSizes(2))
    assert isinstance(await anext(frames), ProgressFrame)
    frame = await anext(frames)
    await frames.aclose()
    assert frame.rows["symbol"].to_pylist() == ["A1", "A2"]
    return frame.token


async def _opened(world):
    """A subscription from before the node started anew."""
    ready = world.tail.ready
    world.tail.ready = lambda _: True
    try:
        return await world.query.subscribe(StreamRequest(begin="begin"))
    finally:
        world.tail.ready = ready


async def test_fewer_rows_are_read_at_a_time_where_memory_is_short(world, monkeypatch):
    monkeypatch.setattr(subscriptions, "LEAST_READ", 10)
    for second in range(60):
        world.log.append(0, [("A", T0 + second)], accepted_us=1_000_000 + second)
    world.read_tail(0)
    asked = []
    read = reader.ChunkReader.read

    async def short(self, wants, position, leg, at_most):
        asked.append(at_most)
        if at_most > 30:
            raise TooMuchError("too many rows")
        return await read(self, wants, position, leg, at_most)

    monkeypatch.setattr(reader.ChunkReader, "read", short)
    subscription = await world.query.subscribe(StreamRequest(begin="begin", end="end"))
    frames = [one async for one in subscription.frames(AmpleRoom(), FrameSizes(20))]
    assert sum(one.rows.num_rows for one in frames if isinstance(one, RowsFrame)) == 60
    assert asked[:3] == [100, 50, 25]
    assert set(asked[3:]) == {25}


async def test_where_no_row_can_be_read_the_frames_say_why(world, monkeypatch):
    world.log.append(0, [("A", T0)], accepted_us=1_000_000)
    world.read_tail(0)

    async def never(self, wants, position, leg, at_most):
        raise TooMuchError(f"no room for {at_most}")

    monkeypatch.setattr(reader.ChunkReader, "read", never)
    subscription = await world.query.subscribe(StreamRequest(begin="begin"))
    frames = subscription.frames(AmpleRoom(), FrameSizes(20))
    seen = [await anext(frames) for _ in range(3)]
    assert seen[-1].waits_for == "no room for 100"
    await frames.aclose()


def test_rows_that_are_given_do_not_keep_what_was_read():
    """In one piece, in several, and with values of every kind."""
    one = trades_table(4_000)
    for rows in (
        one.combine_chunks(),
        pa.concat_tables([one.slice(at, 10) for at in range(4_000)]),
    ):
        found = copied(rows, 5, 100)
        assert found.equals(rows.slice(5, 100))
        assert found.get_total_buffer_size() <= found.nbytes + 64 * len(found.columns) * 4
