"""An agent on a topic that the app does not declare ends the start, with the topic's name."""

import os
import sys
from pathlib import Path

import forked
import pytest

#: A topology of somebody's, and its start as far as the first look at its agents.
PROGRAM = '''
import asyncio

import k2_streams as k2

app = k2.App("mine")
raw = app.source(k2.TRADES_INPUT)


@app.agent(raw, outputs=[raw.accepted])
def nothing(records, ctx):
    """Processes nothing."""


@app.agent(app.topic("mine"))
async def lost(stream):
    async for _ in stream:
        pass


asyncio.run(app.on_start())
'''


@pytest.mark.slow
def test_an_agent_on_an_undeclared_topic_ends_the_start_with_exit_code_2(tmp_path: Path) -> None:
    """Faust would be assigned the topic's partitions, and nothing would read them."""
    environment = {**os.environ, "K2_DATA_DIR": str(tmp_path / "data")}
    ended = forked.run_text(PROGRAM, environment, tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert "topic mine: no source or output of this app declares it" in ended.stderr
    assert TOPICS in ended.stderr, "what is declared is named"


TOPICS = (
    "declared: k2.dead-letter, k2.levels, k2.sequence-events, k2.trades, k2.trades.raw, "
    "k2.trades.repairs"
)


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ("", "topology mine has no source: declare one"),
        (
            'app.stream("trades")\n',
            "topology mine: no agent reads k2.trades: declare one with @app.agent(source, ...)",
        ),
    ],
)
def test_a_topology_that_does_not_fit_together_ends_the_worker_with_one_line(
    tmp_path: Path, declared: str, says: str
) -> None:
    """As `faust` starts it, and before anything is created: no broker is needed."""
    (tmp_path / "mine.py").write_text(
        f'import k2_streams as k2\n\napp = k2.App("mine")\n{declared}'
    )
    faust = str(Path(sys.executable).parent / "faust")
    environment = {
        **os.environ,
        "K2_DATA_DIR": str(tmp_path / "data"),
        "K2_BOOTSTRAP": "127.0.0.1:1",
        "PYTHONPATH": str(tmp_path),
    }
    ended = forked.run([faust, "-A", "mine", "worker", "-l", "info"], environment, tmp_path)
    assert ended.returncode == 2, ended.stderr
    (line,) = (one for one in ended.stderr.splitlines() if "k2: " in one)
    assert f"k2: {says}" in line
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "data").exists()
