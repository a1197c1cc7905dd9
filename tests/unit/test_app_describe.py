"""`k2 app describe`: what an app reads, keeps and writes, by the names that an operator meets."""

import textwrap
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from k2_streams.cli.main import main
from k2_streams.kafka.topics import changelog_topic
from k2_streams.runtime.description.topology import DescribedTopology

MODULE = """
import msgspec
import pyarrow as pa

import k2_streams as k2

ALERTS = pa.schema(
    [
        pa.field("exchange", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("event_time_ns", pa.int64(), nullable=False),
    ]
)


class Recent(msgspec.Struct):
    sizes: list[int] = []


app = k2.App("surveillance", web_port=7000)
trades = app.stream("trades")
quotes = app.stream("quotes")
recent = app.Table("recent", value=Recent, version=2)
alerts = app.output("alerts", schema=ALERTS, key=("exchange", "symbol"), time="event_time_ns")
spreads = app.output("spreads", schema=ALERTS, key=("symbol",), time="event_time_ns")


def close(key, event_time_ns, ctx): ...


@app.agent(trades, tables=[recent], outputs=[alerts], on_error="dead-letter", on_timer=close)
def wash_trades(batch, ctx): ...


@app.agent(quotes, outputs=[spreads])
def spread(batch, ctx): ...


@app.page("/today")
async def today(request): ...
"""

TEXT = """\
topology surveillance: app id surveillance, 3 partitions
state in /srv/k2/surveillance-worker-0, web at http://127.0.0.1:7000

source k2.trades             rows of the stream trades
  |-- table position-trades  changelog surveillance-position-trades-changelog
  |-- agent wash_trades      on error: dead-letter, with timers
  |     |-- table recent     changelog surveillance-recent-changelog, Recent version 2
  |     |-> output alerts    k2.alerts, Iceberg k2.alerts, /v1/alerts
  |     |                    key exchange symbol, time event_time_ns
  |-> dead letters           k2.surveillance.trades.dead-letter

source k2.quotes             rows of the stream quotes
  |-- table position-quotes  changelog surveillance-position-quotes-changelog
  |-- agent spread           on error: stop
  |     |-> output spreads   k2.spreads, Iceberg k2.spreads, /v1/spreads
  |     |                    key symbol, time event_time_ns
  |-> dead letters           k2.surveillance.quotes.dead-letter

levels                       k2.surveillance.levels
page /pages/today            http://127.0.0.1:7000/pages/today
"""

MERMAID = """\
flowchart LR
  s0[/"k2.trades"/]
  s0 --> s0a0["wash_trades"]
  s0a0 <--> s0a0t0[("recent")]
  s0a0 --> s0a0o0[/"k2.alerts"/]
  s0a0o0 --> s0a0o0table[("Iceberg k2.alerts")]
  s0a0o0 --> s0a0o0path(["/v1/alerts"])
  s0 <--> s0t0[("position-trades")]
  s0 -.-> s0dead[/"k2.surveillance.trades.dead-letter"/]
  s1[/"k2.quotes"/]
  s1 --> s1a0["spread"]
  s1a0 --> s1a0o0[/"k2.spreads"/]
  s1a0o0 --> s1a0o0table[("Iceberg k2.spreads")]
  s1a0o0 --> s1a0o0path(["/v1/spreads"])
  s1 <--> s1t0[("position-quotes")]
  s1 -.-> s1dead[/"k2.surveillance.quotes.dead-letter"/]
"""


@pytest.fixture
def describe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command on a module of this text, in the module's folder."""
    monkeypatch.setenv("K2_DATA_DIR", "/srv/k2")
    monkeypatch.setenv("K2_PARTITIONS", "3")
    monkeypatch.setenv("K2_BOOTSTRAP", "127.0.0.1:1")  # nobody answers there
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(text: str, *options: str, name: str) -> Any:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        return CliRunner().invoke(main, ["app", "describe", name, *options])

    return run


def test_a_topology_is_drawn_with_all_its_names_and_without_a_broker(describe):
    done = describe(MODULE, name="described_text")
    assert (done.exit_code, done.output) == (0, TEXT)


def test_a_topology_is_drawn_as_a_diagram(describe):
    done = describe(MODULE, "--format", "mermaid", name="described_mermaid")
    assert (done.exit_code, done.output) == (0, MERMAID)


def test_a_topology_is_data_for_programs(describe):
    done = describe(MODULE, "--format", "json", name="described_json")
    found = msgspec.json.decode(done.output, type=DescribedTopology)
    assert [source.topic for source in found.sources] == ["k2.trades", "k2.quotes"]
    (agent,) = found.sources[0].agents
    assert (agent.tables[0].changelog, agent.outputs[0].path) == (
        changelog_topic("surveillance", "recent"), "/v1/alerts",
    )  # fmt: skip


def test_names_follow_the_settings(describe, monkeypatch):
    monkeypatch.setenv("K2_APP_ID", "second")
    done = describe(MODULE, name="described_settings")
    assert "changelog second-recent-changelog" in done.output
    assert "k2.surveillance.trades.dead-letter" in done.output


def test_the_app_of_a_raw_topic_shows_what_k2_itself_does(describe):
    text = """
import k2_streams as k2

mine = k2.App("k2")
raw = mine.source(k2.QUOTES_INPUT)


@mine.agent(raw, tables=[k2.SEQUENCE, k2.DEDUP], outputs=[raw.accepted])
def accept(records, ctx):
    pass
"""
    describe(text, name="described_raw")
    done = CliRunner().invoke(main, ["app", "describe", "described_raw:mine"])
    for part in (
        "source k2.quotes.raw        raw records, by the feeds canonical asx.quotes.csv",
        "  |-- agent accept          on error: stop",
        "  |     |-- table sequence  changelog k2-sequence-changelog",
        "  |     |-> output quotes   k2.quotes, Iceberg k2.quotes, /v1/quotes",
        "  |-> deferred              k2.quotes.deferred",
        "  |-> events                k2.quotes.sequence-events",
    ):
        assert part in done.output.splitlines()
    drawn = CliRunner().invoke(main, ["app", "describe", "described_raw:mine", "--format=mermaid"])
    assert 's0 --> s0a0["accept"]' in drawn.output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a k2.App named app, found nothing: name it, as MODULE:APP"),
        ("app = 3", "expected a k2.App named app, found a int"),
        ("import nothing_of_that_name", "cannot be imported (No module named 'nothing"),
        ('import k2_streams as k2\napp = k2.App("Mine!")', "app 'Mine!': expected a name of 1 to"),
        ('import k2_streams as k2\napp = k2.App("m")', "topology m has no source: declare one"),
        ('import k2_streams as k2\nk2.Stream.of_raw("No!", [])', "stream No!: the schema has no"),
    ],
)  # fmt: skip
def test_what_cannot_be_described_is_one_line_and_code_2(describe, text, says, request):
    done = describe(text, name=f"described_wrong_{abs(len(text))}")
    assert done.exit_code == 2
    assert done.output.startswith("Error: ")
    assert says in done.output
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize("module", [":app", ".trades", ".."])
def test_what_names_no_module_is_one_line_and_code_2(module):
    done = CliRunner().invoke(main, ["app", "describe", module])
    assert done.exit_code == 2
    assert done.output.startswith(f"Error: {module!r} names no module")
