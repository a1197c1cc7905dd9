"""A stream of rows at the client: frames however their bytes are cut, and where it goes on."""

import itertools
import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2_client.columns import ColumnShape
from k2_client.errors import QuestionRefusedError, UnavailableError, UnreadableError
from k2_client.exchange import Nodes, NoReply, Reply
from k2_client.operations import Operations
from k2_client.row_stream import FRAME_KEY, FrameReader

A, B = "http://a:1", "http://b:2"
SCHEMA = pa.schema([("symbol", pa.string()), ("n", pa.int64())])


def stream_of(*frames):
    """The bytes of a stream: (kind, token, rows) of each frame."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        for kind, token, rows in frames:
            described = json.dumps({"frame": kind, "token": token}).encode()
            values = [{"symbol": f"S{n}", "n": n} for n in rows]
            batch = pa.RecordBatch.from_pylist(values, schema=SCHEMA)
            writer.write_batch(batch, custom_metadata={FRAME_KEY: described})
    return sink.getvalue().to_pybytes()


FRAMES = [
    ("progress", "t1", []),
    ("rows", "t2", [1, 2, 3]),
    ("gap", "t3", []),
    ("rows", "t4", list(range(300))),
    ("end", "t5", []),
]
BYTES = stream_of(*FRAMES)


def told(frame):
    return frame.kind, frame.token, frame.rows["n"].to_pylist()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, len(BYTES)), max_size=20))
def test_frames_are_the_same_however_their_bytes_are_cut(cuts):
    edges = [0, *sorted(cuts), len(BYTES)]
    reader = FrameReader(ColumnShape())
    found = [
        told(frame)
        for begin, end in itertools.pairwise(edges)
        for frame in reader.feed(BYTES[begin:end])
    ]
    assert found == FRAMES


def test_bytes_that_are_no_stream_of_k2_are_unreadable(monkeypatch):
    monkeypatch.setattr("k2_client.row_stream.MAX_MESSAGE_BYTES", 100)
    with pytest.raises(UnreadableError, match="Arrow stream"):
        list(FrameReader(ColumnShape()).feed(b"<html>" * 50))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist([], schema=SCHEMA))
    with pytest.raises(UnreadableError, match=r"k2\.frame"):
        list(FrameReader(ColumnShape()).feed(sink.getvalue().to_pybytes()))


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def followed(connections, options=None):
    """The frames of a stream over these connections, each a list of pieces; and what was asked."""
    clock = Clock()
    rows = Operations(Nodes((A, B), clock=clock)).stream("trades", "S", options or {})
    connections, found, asked = list(connections), [], []
    while (step := rows.following()) is not None:
        clock.now_s += step.after_s
        asked.append((step.address, dict(step.question.parameters)["from"], step.after_s))
        for piece in connections.pop(0) if len(connections) > 1 else connections[0]:
            found += [told(frame) for frame in rows.receive(piece)]
    return found, asked


def test_a_stream_that_breaks_off_goes_on_behind_the_last_frame():
    first = stream_of(*FRAMES[:2])
    found, asked = followed([[first[:-8], NoReply("reset")], [stream_of(*FRAMES[2:])]])
    assert found == FRAMES
    assert [one[:2] for one in asked] == [(A, "now"), (A, "t2")]


def test_a_stream_whose_node_has_gone_goes_on_at_another_one():
    first = stream_of(*FRAMES[:4])
    found, asked = followed([[first], [NoReply("refused")], [stream_of(*FRAMES[4:])]])
    assert found == FRAMES
    assert [one[:2] for one in asked] == [(A, "now"), (A, "t4"), (B, "t4")]


def test_a_stream_that_ends_early_again_and_again_is_not_asked_for_without_a_pause():
    short = [stream_of(("progress", "t", []))]
    _, asked = followed([short, short, short, [BYTES]])
    assert all(pause_s > 0 for _, _, pause_s in asked[1:])


def test_patience_with_nodes_that_give_no_frame_ends():
    with pytest.raises(UnavailableError, match="/v1/trades/stream"):
        followed([[NoReply("refused")]])


def test_a_refusal_ends_a_stream():
    body = json.dumps({"error": {"code": "invalid_parameter", "message": "m", "field": "from"}})
    with pytest.raises(QuestionRefusedError, match="from"):
        followed([[Reply(422, {}, body.encode())]], {"start": "nonsense"})


def test_options_have_the_names_of_the_client_and_of_k2():
    rows = Operations(Nodes(A)).stream(
        "trades", ["S", "T"], {"start": "begin", "end": "end", "speed": 10, "columns": ["n"]}
    )
    assert rows.following().question.parameters == (
        ("symbol", "S"), ("symbol", "T"), ("speed", "10"), ("to", "end"), ("from", "begin"),
        ("format", "arrow"),
    )  # fmt: skip
    (frame,) = rows.receive(stream_of(("rows", "t", [1])))
    assert frame.rows.column_names == ["n"]
