"""The page shows what is true now: its script run by Node over a document that is a stub."""

import json
import re
import shutil
import subprocess

import pytest

from k2_streams.web.endpoints import page

#: Enough of a browser: elements with their children and text, fetch, and timers run by hand.
STUB = """
const elements = {}, timers = [], element = () => ({
  children: [], textContent: "", value: "", attributes: {}, listeners: {}, title: "",
  replaceChildren(...all) { this.children = all; },
  setAttribute(name, value) { this.attributes[name] = value; },
  addEventListener(name, listener) { this.listeners[name] = listener; }});
const document = {hidden: false, createElement: element,
  getElementById: id => elements[id] ??= element()};
const setInterval = work => timers.push(work);
document.getElementById("window").value = "15m";
let alive = true, hold = null, price = 100, streams = {trades: ["symbol", "cursor"]}, raw = true;
const described = names => ({get: {parameters: names.map(name => ({name}))}});
const contract = () => ({...Object.fromEntries(Object.entries(streams).map(([name, parameters]) =>
  ["/v1/" + name, described(parameters)])), "/v1/status": described([]),
  ...(raw ? {"/v1/gaps": described(["symbol"]), "/v1/symbols": described(["symbol"])} : {})});
const SYMBOLS = ["AAA", "BBB"];
const reply = (ok, body) => ({ok, status: ok ? 200 : 404, text: async () => JSON.stringify(body)});
async function fetch(url) {
  if (!alive) throw new Error("refused");
  const [path, query] = url.split("?"), symbol = new URLSearchParams(query).get("symbol");
  if (path === "/v1/status") return reply(true, {ready: true, level: "NORMAL"});
  if (path === "/v1/openapi.json") return reply(true, {paths: contract()});
  if (!raw && (path === "/v1/gaps" || path === "/v1/symbols")) throw new Error("no " + path);
  if (streams[path.slice("/v1/".length)] && path !== "/v1/trades") return reply(true, {data: [
    {account: 9, levels: [{price: "1"}], log_offset: 3}], meta: {rows: 1, rows_lake: 1,
    rows_tail: 0, elapsed_ms: 1, complete: false, token: query}});
  if (path === "/v1/symbols") return reply(true, {data: SYMBOLS.map(symbol => ({symbol}))});
  if (path === "/v1/trades" && hold?.[symbol]) await hold[symbol];
  if (!SYMBOLS.includes(symbol)) return reply(false, {error: {message: "unknown " + symbol}});
  return reply(true, path === "/v1/gaps" ? {data: []} : {data: [{exchange_time: "t",
    exchange: "X", price: String(price), quantity: "1", side: symbol, sequence: 1}],
    meta: {rows: 1, rows_lake: 0, rows_tail: 1, elapsed_ms: 1, complete: true, token: symbol}});
}
const texts = id => JSON.stringify(elements[id].children.map(row => row.children.map(cell =>
  cell.textContent)));
const turn = () => new Promise(done => setImmediate(done));
const settle = async () => { for (let at = 0; at < 9; at++) await turn(); };
const tick = async () => { for (const timer of timers) await timer(); await settle(); };
const choose = async symbol => {
  elements.symbol.value = symbol;
  await elements.ask.listeners.submit({preventDefault() {}});
};
const look = () => ({shown: elements.shown.textContent, rows: texts("rows"),
  line: elements.line.attributes.points, proof: elements.proof.textContent,
  head: JSON.stringify(elements["rows-head"].children.map(row => row.children.map(cell =>
    cell.textContent))), hidden: [elements.symbol.hidden, elements["gaps-section"].hidden],
  status: texts("status"), problem: elements.problem.textContent});
"""


def run(steps):
    """What the page shows after each `say(look())` of the steps."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node to run the page's script")
    (script,) = re.findall(r"<script>(.*?)</script>", page.HTML, re.DOTALL)
    script = script.replace('"use strict";', "")
    told = "const told = [], say = found => told.push(found);"
    body = f"(async () => {{ await settle(); {steps}; console.log(JSON.stringify(told)); }})();"
    ran = subprocess.run(
        [node, "-e", f"{STUB}\n{told}\n{script}\n{body}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_an_unknown_symbol_shows_no_rows_of_the_one_before():
    before, after = run("say(look()); await choose('NOPE'); say(look())")
    assert before["shown"] == "Trades of AAA, 15m"
    assert "100" in before["rows"]
    assert (after["shown"], after["rows"], after["line"], after["proof"]) == (
        "Trades",
        "[]",
        "",
        "",
    )
    assert "unknown NOPE" in after["problem"]


def test_a_worker_that_does_not_answer_is_not_shown_as_ready():
    before, after, again = run(
        "say(look()); alive = false; await tick(); say(look());"
        "alive = true; await tick(); say(look())"
    )
    assert "true" in before["status"]
    assert "true" not in after["status"]
    assert "does not answer" in after["status"]
    assert "true" in again["status"]
    assert again["problem"] == ""


def test_trades_refresh_and_stay_of_the_symbol_that_was_asked():
    (found,) = run("price = 200; elements.symbol.value = 'BB'; await tick(); say(look())")
    assert "200" in found["rows"]
    assert found["shown"] == "Trades of AAA, 15m"


def test_a_slow_answer_does_not_replace_a_later_ones():
    (found,) = run(
        "let answer; hold = {BBB: new Promise(done => answer = done)}; const slow = choose('BBB');"
        "await settle(); await choose('AAA'); answer(); await slow; await settle(); say(look())"
    )
    assert found["shown"] == "Trades of AAA, 15m"
    assert "AAA" in found["rows"]
    assert "BBB" not in found["rows"]


def test_a_worker_of_outputs_alone_shows_the_columns_of_its_rows():
    """Nothing is asked about gaps and symbols, which it does not have."""
    (found,) = run(
        "raw = false; streams = {alerts: ['account', 'cursor'], bars: ['symbol', 'cursor']};"
        "elements.stream.value = ''; await elements.key.listeners.change(); say(look())"
    )
    assert (found["shown"], found["problem"]) == ("Alerts, 15m", "")
    assert found["head"] == '[["account","levels"]]'
    assert json.loads(found["rows"]) == [[9, '[{"price":"1"}]']]
    assert found["hidden"] == [True, True]
    assert "symbol" not in found["proof"]


def test_another_stream_is_shown_when_it_is_chosen():
    (found,) = run(
        "streams = {...streams, bars: ['symbol', 'cursor']}; await elements.key.listeners.change();"
        "elements.stream.value = 'bars'; await elements.stream.listeners.change(); say(look())"
    )
    assert found["shown"] == "Bars of AAA, 15m"
    assert found["hidden"] == [False, False]
    assert "symbol=AAA" in found["proof"]
