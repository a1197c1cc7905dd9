"""`k2 sql`: where rows and proof go, its exit codes, and its prompt."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from lake_rows import record, table_of
from web_node import served
from web_support import application

import k2_client
from k2_streams.cli import sql, sql_prompt
from k2_streams.cli.main import main
from k2_streams.cli.sql_answers import Asker, SqlChoices
from k2_streams.cli.sql_prompt import Prompt
from k2_streams.core.records.stream import TRADES
from k2_streams.core.records.vector import Range
from k2_streams.lake.config import LakeConfig
from k2_streams.lake.table import Lake
from k2_streams.testing.local.loopback import free_port

COUNT = (
    "SELECT symbol, count(*) AS n FROM trades WHERE exchange_time_ns >= 0 GROUP BY ALL ORDER BY 1"
)
ONE = "SELECT 1 AS one, NULL AS nothing, [1, 2] AS many"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with served(tmp_path_factory.mktemp("node"), application) as found:
        yield found


@pytest.fixture
def run(address):
    def k2_sql(*words, **given):
        return CliRunner().invoke(main, ["sql", "--url", address, *words], **given)

    return k2_sql


def test_rows_are_on_standard_output_and_the_proof_on_standard_error(run):
    done = run(COUNT)
    assert done.exit_code == 0, done.output
    assert done.stdout == "symbol  n\nAAA     28\nBBB     32\n"
    assert "2 rows, NOT complete, in " in done.stderr
    assert "SYN:AAA lacks 5-5, 7-7 of session 0 (open)" in done.stderr
    assert "token trades:" in done.stderr


def test_a_complete_answer_says_so_and_no_row_is_no_line(run):
    done = run("SELECT 1 AS one WHERE false", "--require-complete")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("0 rows, complete, in ")


def test_an_incomplete_answer_fails_only_if_it_is_asked_for(run):
    assert run(COUNT).exit_code == 0
    done = run(COUNT, "--require-complete")
    assert done.exit_code == 1
    assert done.stdout.startswith("symbol")


@pytest.mark.parametrize(
    "words",
    [
        ("SELECTS 1",),
        ("SELECT $a AS a",),
        ("SELECT 1", "-p", "a"),
        ("SELECT 1", "-p", "=a"),
        ("SELECT 1", "--format", "xml"),
        ("SELECT 1", "-f", "-"),
        ("SELECT 1", "--as-of", "nonsense"),
        ("SELECT 1", "-o", "/nowhere/rows.csv"),
    ],
)
def test_what_cannot_be_answered_is_exit_code_2_and_no_row(run, words):
    done = run(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Error" in done.stderr


def test_no_node_is_exit_code_2(monkeypatch):
    monkeypatch.setattr(sql, "PATIENCE_S", 0.0)
    nobody = f"http://127.0.0.1:{free_port()}"
    done = CliRunner().invoke(main, ["sql", "--url", nobody, "SELECT 1"])
    assert done.exit_code == 2
    assert "no answer to /v1/sql" in done.stderr


def test_a_statement_comes_from_a_file_or_from_standard_input(run, tmp_path):
    file = tmp_path / "one.sql"
    file.write_text(ONE)
    expected = "one  nothing  many\n1             [1, 2]\n"
    assert run("-f", str(file)).stdout == expected
    assert run("-f", "-", input=ONE).stdout == expected
    assert run(input=ONE).stdout == expected


def test_parameters_and_a_token_reach_the_node(run):
    query = "SELECT count(*) AS n FROM trades WHERE exchange_time_ns >= $t AND symbol = $who"
    done = run(query, "-p", "t=0", "-p", "who=AAA")
    assert done.stdout == "n\n28\n"
    token = done.stderr.split()[-1]
    assert run(query, "-p", "t=0", "-p", "who=BBB", "--as-of", token).stdout == "n\n32\n"


def test_a_limit_says_that_there_are_more(run):
    done = run("SELECT * FROM range(9)", "--limit", "2")
    assert done.stdout == "range\n0\n1\n"
    assert "2 rows, and there are more, complete" in done.stderr


@pytest.mark.parametrize("form", ["json", "csv", "markdown", "arrow", "parquet"])
def test_every_format_is_what_the_node_writes(run, tmp_path, form):
    text = "SELECT 1 AS one, 'a|b' AS two"
    file = tmp_path / "out"
    assert run(text, "--format", form, "-o", str(file)).exit_code == 0
    body = file.read_bytes()
    match form:
        case "json":
            assert json.loads(body)["data"] == [{"one": 1, "two": "a|b"}]
        case "csv":
            assert body == b"one,two\r\n1,a|b\r\n"
        case "markdown":
            assert body == b"| one | two |\n|---|---|\n| 1 | a\\|b |\n"
        case "arrow":
            assert pa.ipc.open_stream(body).read_all()["two"].to_pylist() == ["a|b"]
        case "parquet":
            assert pq.read_table(file)["two"].to_pylist() == ["a|b"]
    assert run(text, "--format", form).stdout_bytes == body or form in {"json", "arrow", "parquet"}


@pytest.fixture
def prompted(address, quiet_logs, tmp_path, monkeypatch, capsys):
    """What the prompt writes for some lines, without the log of the node."""
    monkeypatch.setattr(sql_prompt, "_HISTORY", tmp_path / "history")

    def run(*lines):
        given = iter(lines)

        def read_line(_prompt):
            line = next(given, EOFError())
            if isinstance(line, str):
                return line
            raise line

        with k2_client.connect(address) as client:
            Prompt(Asker(client, SqlChoices({}, {}, "table", None)), read_line).run()
        found = capsys.readouterr()
        return found.out, found.err

    return run


def test_a_statement_of_several_lines_ends_with_a_semicolon(prompted):
    out, _ = prompted("", "SELECT 1", "  AS one;", "SELECT 2 AS two ; ")
    assert out == "one\n1\ntwo\n2\n"


def test_the_prompt_goes_on_after_an_error_and_an_interrupt(prompted):
    out, err = prompted("SELECTS 1;", "SELECT", KeyboardInterrupt(), "SELECT 3 AS three;")
    assert "Error: query: " in err
    assert out == "three\n3\n"


def test_the_relations_and_their_columns_are_listed(prompted):
    out, err = prompted(r"\d", r"\d gaps", r"\d nothing")
    assert "trades" in out
    assert "missing           array" in out
    assert "Error: there is no relation nothing: expected one of gaps, " in err


def test_commands_end_it_show_the_proof_and_help(prompted):
    out, _ = prompted(r"\x", "SELECT 1 AS one;", r"\proof", r"\q", "SELECT 2 AS two;")
    assert r"\q" in out
    assert '"complete": true' in out
    assert "two" not in out


@pytest.fixture
def lake(tmp_path, monkeypatch):
    """The lake that the settings name: trades, of no worker."""
    folder = tmp_path / "lake"
    folder.mkdir()
    monkeypatch.setenv("K2_CATALOG_URI", f"sqlite:///{folder}/catalog.db")
    monkeypatch.setenv("K2_WAREHOUSE", f"{folder}/warehouse")
    return LakeConfig(f"sqlite:///{folder}/catalog.db", f"{folder}/warehouse")


def test_the_lake_is_read_without_a_node(lake):
    writer = Lake(lake, stream=TRADES)
    writer.ensure()
    commits = [(record(0, 0), record(0, 1)), (record(0, 2),)]
    for number, records in enumerate(commits):
        ends = Range(2 * number, 2 + number)
        writer.append(table_of(*records), {0: ends}, topic_id="one", commit_id=str(number))
    query = "SELECT count(*) AS n, max(log_offset) AS last FROM trades WHERE exchange_time_ns >= 0"
    done = CliRunner().invoke(main, ["sql", "--local", query])
    assert done.exit_code == 0, done.output
    assert done.stdout == "n  last\n9  2\n"
    assert "1 rows, NOT complete" in done.stderr
    token = done.stderr.split()[-1]
    writer.append(table_of(record(0, 3)), {0: Range(3, 4)}, topic_id="one", commit_id="2")
    writer.close()
    again = CliRunner().invoke(main, ["sql", "--local", "--as-of", token, query])
    assert again.stdout == done.stdout
    assert CliRunner().invoke(main, ["sql", "--local", query]).stdout == "n   last\n12  3\n"


def test_a_table_without_rows_proves_nothing(lake):
    writer = Lake(lake, stream=TRADES)
    writer.ensure()
    writer.close()
    query = "SELECT count(*) AS n FROM trades WHERE exchange_time_ns >= 0"
    done = CliRunner().invoke(main, ["sql", "--local", "--require-complete", query])
    assert (done.exit_code, done.stdout) == (1, "n\n0\n")
    assert "NOT complete" in done.stderr


def test_a_lake_without_tables_and_options_of_nodes_are_exit_code_2(lake):
    Lake(lake, stream=TRADES).close()
    for words in ((), ("--url", "http://127.0.0.1:1"), ("--known-at", "2026-11-23T00:00:00Z")):
        done = CliRunner().invoke(main, ["sql", "--local", *words, "SELECT 1"])
        assert (done.exit_code, done.stdout) == (2, ""), words
