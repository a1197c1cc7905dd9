"""Events of rows that are rendered together are the events of each alone, byte by byte."""

from hypothesis import given
from hypothesis import strategies as st
from web_support import trades_table

from k2_streams.query.subscription.frames import RowsFrame
from k2_streams.query.token import StreamToken, Token
from k2_streams.web.http.formats import ROWS_AT_ONCE, json_rows
from k2_streams.web.http.frames import FrameFormat, FrameWriter

ROWS = trades_table(2 * ROWS_AT_ONCE + 3)


def token(rows: int) -> StreamToken:
    """Of a place behind so many rows."""
    return StreamToken(Token("t", {0: rows}, 0, 0), None, None, None, 0, rows, 0, 0)


@given(
    st.integers(0, ROWS.num_rows - 1),
    st.lists(st.integers(1, ROWS_AT_ONCE), min_size=1, max_size=4),
)
def test_events_that_are_made_together_are_those_made_alone(start: int, sizes: list[int]) -> None:
    rows = ROWS.slice(start, sum(sizes))
    ends = sorted({min(sum(sizes[: at + 1]), rows.num_rows) for at in range(len(sizes))})
    *cuts, (_, last) = [(end, token(end)) for end in ends]
    together = FrameWriter(ROWS.schema, FrameFormat.SSE)
    alone = FrameWriter(ROWS.schema, FrameFormat.SSE)
    expected = b"".join(
        alone.write(RowsFrame(token(end), rows.slice(begin, end - begin)))
        for begin, end in zip([0, *ends], ends, strict=False)
    )
    assert together.write(RowsFrame(last, rows, tuple(cuts))) == expected
    plain = b"".join(b"%b," % text for text in json_rows(rows.slice(0, ends[0])))
    assert b'"data":[%b]}' % plain[:-1] in expected
