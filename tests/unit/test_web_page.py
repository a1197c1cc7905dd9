"""The page's own decisions, run by Node: what it keeps, folds, compares, and says of a proof."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from k2_streams.runtime.metrics import Metrics
from k2_streams.web.page import files

ROOT = Path(__file__).parent.parent.parent
ASSETS = ROOT / "k2_streams/web/page/assets"


def run(imports, steps):
    """What the steps say, with names imported from modules of the page: `{module: names}`."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node to run the page's modules")
    lines = [
        f"import {{ {names} }} from {json.dumps((ASSETS / module).as_uri())};"
        for module, names in imports.items()
    ]
    script = "\n".join(
        [*lines, "const said = [], say = found => said.push(structuredClone(found));", steps,
         "console.log(JSON.stringify(said));"]
    )  # fmt: skip
    ran = subprocess.run(
        [node, "--input-type=module"],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_values_are_written_with_units_and_in_utc():
    said = run(
        {"format.js": "bytes, clockMs, count, dateTimeOfNs, decimal, duration, percent, rate"},
        """
        for (const text of [bytes(0), bytes(1536), bytes(3 << 20), duration(0.0004), duration(0.34),
          duration(12.5), duration(200), duration(18120), duration(266400), percent(0.0512),
          rate(12345.6), rate(0.125), rate(null), count(1234567), decimal("98.3", 2),
          clockMs(1763899200123), dateTimeOfNs("1763899200123456789")]) say(text);
        """,
    )
    assert said == [
        "0 B", "1.5 KiB", "3 MiB", "< 1 ms", "340 ms", "12.5 s", "3 min 20 s", "5 h 2 min",
        "3 d 2 h", "5.1 %", "12,346", "0.125", "–", "1,234,567", "98.30",  # noqa: RUF001
        "12:00:00.123", "2025-11-23 12:00:00",
    ]  # fmt: skip


def test_an_address_leads_back_to_its_view():
    said = run(
        {"router.js": "addressOf, parseAddress"},
        """
        say(parseAddress(addressOf("symbol", { key: "SIM:A B", window: "15m", as_of: "" })));
        say(parseAddress("#/nowhere"));
        say(parseAddress(""));
        """,
    )
    assert said[0] == {"view": "symbol", "parameters": {"key": "SIM:A B", "window": "15m"}}
    assert [one["view"] for one in said[1:]] == ["overview", "overview"]


def test_errors_say_what_can_be_done():
    said = run(
        {"api/api.js": "createApi, urlOf"},
        """
        const reply = (status, code) => ({ ok: false, status, headers: new Map(),
          text: async () => JSON.stringify({ error: { code, message: `it is ${code}` } }) });
        const kindOf = async fetch => {
          try { await createApi({ fetch }).ask("/v1/trades"); } catch (error) {
            say([error.kind, error.message]); }
        };
        for (const [status, code] of [[401, "unauthorized"], [404, "not_found"], [503, "busy"],
          [404, "unknown_symbol"], [422, "invalid_parameter"], [500, "internal"]])
          await kindOf(async () => reply(status, code));
        await kindOf(async () => { throw new TypeError("refused"); });
        await kindOf(async () => ({ ok: false, status: 502, headers: new Map(),
          text: async () => "<html>" }));
        say(urlOf("/v1/trades", { symbol: ["A", "B"], window: "", limit: 3 }));
        """,
    )
    kinds = [one[0] for one in said[:-1]]
    assert kinds == [
        "unauthorised", "absent", "busy", "refused", "refused", "failed", "unreachable", "failed",
    ]  # fmt: skip
    assert said[3][1] == "it is unknown_symbol"
    assert said[-1] == "/v1/trades?symbol=A&symbol=B&limit=3"


def test_a_key_is_sent_once_and_kept_nowhere():
    said = run(
        {"api/api.js": "createApi"},
        """
        const fetch = async (url, { method = "GET", headers = {} }) => {
          say([url, method, headers]);
          return { ok: true, text: async () => "{}" };
        };
        const api = createApi({ fetch });
        await api.signIn("secret");
        await api.ask("/v1/status");
        say(JSON.stringify(api));
        """,
    )
    assert said[0] == ["/v1/session", "POST", {"X-API-Key": "secret"}]
    assert said[1] == ["/v1/status", "GET", {}]
    assert "secret" not in said[2]


BAR = """{ bar_start_ns: 1763899200000000000, open: "1", high: "3", low: "1", close: "2",
  volume: "5", trade_count: 2, missing: 0, late: 0, complete: true }"""


def test_a_trade_changes_its_own_bar_and_adds_those_that_time_has_skipped():
    said = run(
        {"model/bars.js": "barsOf, fold, MAX_BARS"},
        f"""
        const bars = barsOf([{BAR}]);
        const at = (second, price, more) => ({{ price, quantity: "2",
          exchange_time_ns: String(1763899200000000000n + BigInt(second) * 10n ** 9n), ...more }});
        say(fold(bars, at(4, "4"), 5));
        say(fold(bars, at(4, "0.5", {{ late: true }}), 5));
        say(fold(bars, at(12, "9"), 5).map(bar => [bar.time - 1763899200, bar.close ?? null]));
        say(fold(bars, at(-1, "9"), 5));
        say(fold(bars, at(5 * MAX_BARS * 2, "9"), 5));
        say(bars.length);
        """,
    )
    first, late, skipped, before, ahead, length = said
    assert (first[0]["high"], first[0]["close"], first[0]["volume"], first[0]["trades"]) == (
        4, 4, 7, 3,
    )  # fmt: skip
    assert (late[0]["low"], late[0]["close"]) == (0.5, 4), "a late trade is not the last one"
    assert skipped == [[5, None], [10, 9]]
    assert (before, ahead, length) == ([], None, 3)


def test_bars_of_a_chart_are_bounded():
    said = run(
        {"model/bars.js": "fold, intervalsFor, MAX_BARS"},
        """
        const bars = [];
        for (let second = 0; second < MAX_BARS + 50; second += 1)
          fold(bars, { price: "1", quantity: "1",
            exchange_time_ns: String(BigInt(second) * 10n ** 9n) }, 1);
        say([bars.length, bars[0].time, bars.at(-1).time, MAX_BARS]);
        say(intervalsFor(["1s", "1m", "1h"], "4h"));
        """,
    )
    (length, first, last, most), fitting = said
    assert (length, first, last) == (most, 50, most + 49)
    assert fitting == ["1m", "1h"]


def test_neighbouring_incomplete_bars_are_one_span():
    said = run(
        {"model/spans.js": "incompleteSpans, missingIn, placeOf"},
        """
        const bar = (time, missing) => ({ time, missing, complete: missing === 0 });
        const bars = [bar(0, 0), bar(5, 2), bar(10, 3), bar(15, 0), bar(20, 1)];
        say(incompleteSpans(bars));
        say([placeOf(bars, 12.5, 5), placeOf(bars, 25, 5), placeOf(bars, -1, 5), placeOf([], 1,
          5)]);
        const gap = (previous, next) => ({ missing: [[1, 3]], previous_time_ns: previous,
          next_time_ns: next });
        say([missingIn([gap(2e9, 6e9), gap(null, 1e9), gap(30e9, null)], 5, 15),
          missingIn([gap(null, null)], 5, 15)]);
        """,
    )
    assert said[0] == [{"from": 5, "to": 10}, {"from": 20, "to": 20}]
    assert said[2] == [3, 3], "a gap without a bound may lie anywhere"
    assert said[1] == [{"time": 10, "share": 0.5}, None, None, None]


def test_a_raised_level_is_a_span_from_its_rise_to_its_fall():
    changes = """[["a", "NORMAL", "SOFT", 5], ["b", "NORMAL", "AGGRESSIVE", 31],
      ["b", "AGGRESSIVE", "NORMAL", 39], ["a", "SOFT", "NORMAL", 52]].map(
      ([worker, previous, level, s]) => ({ worker, previous, level, time_ns: s * 1e9 }))"""
    said = run(
        {"model/levels.js": "levelSpans"},
        f"""
        const bars = [0, 10, 20, 30, 40, 50, 60].map(time => ({{ time }}));
        say(levelSpans(bars, {changes}, 10));
        say(levelSpans(bars.slice(2, 3), {changes}, 10));
        say(levelSpans(bars, [], 10));
        const wasRaised = [{{ worker: "a", previous: "SOFT", level: "NORMAL", time_ns: 15e9 }}];
        say(levelSpans(bars, wasRaised, 10).map(({{ from, to }}) => [from, to]));
        """,
    )
    soft, aggressive = {"level": "SOFT", "tone": "warn"}, {"level": "AGGRESSIVE", "tone": "bad"}
    assert said[0] == [
        {"from": 0, "to": 20, **soft},
        {"from": 30, "to": 30, **aggressive},
        {"from": 40, "to": 50, **soft},
    ]
    assert said[1] == [{"from": 20, "to": 20, **soft}], "it began before the first bar"
    assert said[2] == []
    assert said[3] == [[0, 10]], "the first change says what was so before it"


def test_figures_of_the_last_minute_are_those_of_prometheus():
    """10 observations: 5 up to 1 s, 4 from 1 to 2 s, 1 above."""
    said = run(
        {
            "model/metrics.js": "growth, parseMetrics, quantile, total",
            "model/history.js": "createHistory",
        },
        r"""
        const scrape = (count, buckets) => parseMetrics(`# HELP k2_x_total X
k2_x_total{stream="a \\"b\\"",other="1"} ${count}
k2_x_total{stream="c"} 1.0
k2_y_seconds_bucket{le="1.0"} ${buckets[0]}
k2_y_seconds_bucket{le="2.0"} ${buckets[1]}
k2_y_seconds_bucket{le="+Inf"} ${buckets[2]}
python_info 1.0`);
        const before = scrape(10, [1, 1, 1]), after = scrape(70, [6, 10, 11]);
        say([total(after, "k2_x_total"), total(after, "k2_none"), after.has("python_info")]);
        say(growth(before, after, "k2_x_total", { stream: 'a "b"' }));
        say(growth(after, before, "k2_x_total", { stream: 'a "b"' }));
        say([0.5, 0.7, 0.95].map(q => quantile(before, after, "k2_y_seconds", q)));
        say(quantile(after, after, "k2_y_seconds", 0.5));
        const history = createHistory(2);
        const source = text => parseMetrics(`k2_source_records_total ${text}`);
        for (const at of [0, 20, 40, 60, 80]) history.add(at, source(at < 60 ? at * 2 : at * 3));
        say([history.rate("k2_source_records_total"), history.lines.records, history.lines.lag]);
        """,
    )
    assert said[0] == [71, None, False]
    assert said[1] == 60
    assert said[2] == 10, "a worker that started anew counts from 0"
    assert said[3] == [1.0, 1.5, 2.0]
    assert said[4] is None
    rate = (80 * 3 - 20 * 2) / 60
    assert said[5] == [rate, [5, 3], [None, None]], "of the last minute; lines are bounded"


def test_the_values_that_alerts_watch_are_theirs():
    """By metric and by limit, as `alerts.yml` has them."""
    rules = (ROOT / "deploy/prometheus/alerts.yml").read_text()
    alerts = dict(re.findall(r"- alert: (\w+)\n\s+expr: >-\n(.*?)\n\s+for:", rules, re.DOTALL))
    limits = {name: re.search(r"> ([\d.]+)$", rule) for name, rule in alerts.items()}
    known = {name: float(found.group(1)) for name, found in limits.items() if found}
    (watched,) = run(
        {"model/alerts.js": "WATCHED"},
        f"""
        const limits = {json.dumps(known)};
        say(WATCHED.map(({{ alert, read, isRaised }}) => {{
          const names = [], limit = limits[alert];
          read({{ get: name => {{ names.push(name); return []; }} }});
          return {{ alert, names, raised: limit === undefined ? null
            : [isRaised(limit), isRaised(limit + 0.01)] }};
        }}));
        """,
    )
    assert len({one["alert"] for one in watched}) == len(watched)
    for one in watched:
        assert one["names"], one
        assert all(name in alerts[one["alert"]] for name in one["names"]), one
        assert one["raised"] in (None, [False, True]), one
    assert sum(one["raised"] is not None for one in watched) >= 8


def test_a_raised_value_stands_first():
    registry = Metrics()
    registry.process.ready.set(1)
    registry.load.degradation_level.set(3)
    said = run(
        {"model/alerts.js": "watchedValues", "model/metrics.js": "parseMetrics"},
        f"say(watchedValues(parseMetrics({json.dumps(registry.web.scrape('')[0].decode())})));",
    )[0]
    raised = [one["alert"] for one in said if one["isRaised"]]
    assert raised == [one["alert"] for one in said][: len(raised)] == ["K2LevelRaised"]
    assert {one["value"] for one in said if one["alert"] == "K2WorkerNotReady"} == {"no"}


def test_problems_are_told_the_worst_first():
    said = run(
        {"model/health.js": "problemsOf"},
        """
        say(problemsOf({ level: "NORMAL", streams: { trades: { sink: {}, tail: {},
          breaker: { state: "closed" } } } }));
        say(problemsOf({ level: "SOFT", refused: { 3: "failed: agent x" },
          background_tasks: { tail: { state: "failed", last_error: "gone" } },
          streams: { trades: { sink: { error: "no table" }, tail: { holds_source: true },
            breaker: { state: "open", failures: 4 }, store_breaker: null } } })
          .map(one => [one.tone, one.what]));
        """,
    )
    assert said[0] == []
    assert [tone for tone, _ in said[1]] == ["bad"] * 4 + ["warn"] * 2
    assert {what for _, what in said[1]} == {
        "Partition 3 is refused", "Background task tail failed", "Sink of trades",
        "Tail of trades is full", "Breaker before the lake of trades is open", "Level SOFT",
    }  # fmt: skip


def test_a_proof_says_why_an_answer_may_lack_something():
    said = run(
        {"model/proof.js": "numbersOf, reasonsOf"},
        """
        say(reasonsOf({ gaps: [{ state: "open", missing: [[4, 6]], abandoned: [["9", "9"]] },
          { state: "filled", missing: [], abandoned: [] }], gaps_omitted: 1, deferred: 2,
          gaps_complete: false, dead_letters_complete: false, stalled: true }));
        say(reasonsOf({ gaps: [], deferred: -1, gaps_complete: true }));
        """,
    )
    assert said[0] == [
        "1 gap with 4 missing or abandoned",
        "1 more gap not listed",
        "2 records deferred",
        "gaps are not known as far as the rows",
        "dead letters are not all counted",
        "an open transaction holds the log back",
    ]
    assert said[1] == ["records may have been deferred then"]


def test_two_answers_are_compared_row_by_row():
    said = run(
        {"model/compare.js": "compare, pointParameters"},
        """
        const row = (id, price) => ({ id, price });
        say(compare([row(1, "1"), row(2, "2"), row(3, "3")], [row(2, "2"), row(3, "4"), row(5,
          "5")],
          one => one.id, ["price"]));
        say([pointParameters({ kind: "now" }), pointParameters({ kind: "tag", value: "eod" }),
          pointParameters({ kind: "known", value: "t" }), pointParameters({ kind: "token",
            value: "x" })]);
        """,
    )
    found = said[0]
    counted = (found["same"], found["onlyA"], found["onlyB"], found["changed"])
    assert counted == (1, 1, 1, 1)
    assert [(one["key"], one["what"], one["column"]) for one in found["differences"]] == [
        (1, "only A", ""),
        (3, "changed", "price"),
        (5, "only B", ""),
    ]
    assert said[1] == [{}, {"as_of": "tag:eod"}, {"known_at": "t"}, {"as_of": "x"}]


PLAYER = """
const sources = [];
class Source {
  constructor(parameters) { this.parameters = parameters; this.listeners = {};
    this.readyState = 1; sources.push(this); }
  CLOSED = 2;
  addEventListener(name, listener) { this.listeners[name] = listener; }
  close() { this.readyState = 2; }
  send(name, data, lastEventId) { this.listeners[name]({ data: JSON.stringify(data),
    lastEventId }); }
}
const row = (offset, second, price) => ({ log_partition: 0, log_offset: offset, log_row: 0, price,
  quantity: "1",
  exchange_time: `2025-11-23T12:00:${String(second).padStart(2, "0")}.000000Z`,
  exchange_time_ns: String(1763899200000000000n + BigInt(second) * 10n ** 9n) });
let shown;
const player = createPlayer({ open: parameters => new Source(parameters),
  parameters: () => ({ from: "begin", speed: "10" }),
  interval: () => "1s", onChange: found => { shown = found; } });
const look = () => say([shown.state, shown.bars.length, shown.total, shown.timeText,
  shown.end?.rows ?? null]);
"""


def test_a_replay_goes_on_behind_the_last_frame_and_begins_again():
    said = run(
        {"model/player.js": "createPlayer"},
        PLAYER
        + """
        player.toggle(); look();
        sources[0].send("rows", { data: [row(1, 0, "1"), row(2, 1, "2")] }, "token-1"); look();
        player.toggle(); look(); say(sources[0].readyState);
        player.toggle(); say(sources[1].parameters);
        sources[1].send("rows", { data: [row(3, 2, "2")] }, "token-2");
        sources[1].send("end", { rows: 3, checksum: "1f" }, "token-3"); look();
        player.toggle(); say(sources[2].parameters); look();
        player.rewind(); look(); say(sources[2].readyState);
        """,
    )
    assert said == [
        ["playing", 0, 0, "", None],
        ["playing", 2, 2, "2025-11-23 12:00:01.000", None],
        ["paused", 2, 2, "2025-11-23 12:00:01.000", None],
        2,
        {"from": "token-1", "speed": "10"},
        ["ended", 3, 3, "2025-11-23 12:00:02.000", 3],
        {"from": "begin", "speed": "10"},
        ["playing", 0, 0, "", None],
        ["idle", 0, 0, "", None],
        2,
    ]


FOLLOW = """
const timers = [];
globalThis.document = { hidden: false, addEventListener() {} };
globalThis.setTimeout = work => { timers.push(work); return timers.length; };
globalThis.clearTimeout = () => {};
const turn = () => new Promise(done => setImmediate(done));
const settle = async () => { for (let at = 0; at < 9; at += 1) await turn(); };
const tick = async () => { for (const timer of timers.splice(0)) await timer(); await settle(); };
const sources = [];
const events = (path, parameters) => { const source = { path, parameters, listeners: {},
  readyState: 1, CLOSED: 2,
  addEventListener(name, listener) { this.listeners[name] = listener; },
    close() { this.readyState = 2; } };
  sources.push(source); return source; };
let isStreamed = true, asked = 0;
const api = { events, ask: async () => ({ data: [{ log_offset: asked += 1 }],
  meta: { token: `t${asked}` } }) };
const ending = new AbortController(), end = () => ending.abort();
const start = () => follow({ api, offer: { get: () => ({ isStreamed: () => isStreamed }) },
  signal: ending.signal, relation: "trades",
  parameters: { symbol: "A" }, newest: { limit: 1 }, onRows: (rows,
    isWhole) => say([rows.map(row => row.log_offset), isWhole]),
  onGap: () => say("gap"), onFailure: error => say(error.message), onDelivery: how => say(how) });
"""


def test_a_stream_follows_the_answer_by_its_token():
    said = run(
        {"api/follow.js": "follow"},
        FOLLOW
        + """
        start(); await settle();
        say([sources[0].path, sources[0].parameters]);
        sources[0].listeners.open();
        sources[0].listeners.rows({ data: '{"token":"x","data":[{"log_offset":7}]}' });
        sources[0].listeners.gap({});
        await tick(); say(asked);
        sources[0].readyState = 2; sources[0].listeners.error(); await settle();
          say(sources.length);
        end(); say(sources[1].readyState);
        """,
    )
    assert said == [
        [[1], True],
        ["/v1/trades/stream", {"symbol": "A", "from": "t1", "batch_ms": 100}],
        "stream",
        [[7], False],
        "gap",
        1,
        None,
        [[2], True],
        2,
        2,
    ]


def test_rows_of_a_node_without_a_stream_are_asked_for_again():
    said = run(
        {"api/follow.js": "follow"},
        FOLLOW + "isStreamed = false; start(); await settle(); await tick(); end();"
        "await tick(); say(asked);",
    )
    assert said == [[[1], True], "polling", [[2], True], "polling", 2]


def test_each_row_is_on_the_tape_once_the_newest_first():
    said = run(
        {"model/tape.js": "MAX_TAPE, aligned, merged"},
        """
        const row = offset => ({ log_partition: 0, log_offset: offset, log_row: 0,
          price: offset % 2 ? "1.5" : "1", quantity: "1" });
        const tape = merged([row(2), row(1)], [row(2), row(3), row(4)]);
        say(tape.map(one => one.log_offset));
        say(merged([], Array.from({ length: 900 }, (_, at) => row(at))).length === MAX_TAPE);
        say(aligned(tape).map(one => one.price));
        """,
    )
    assert said == [[4, 3, 2, 1], True, ["1.0", "1.5", "1.0", "1.5"]]


def test_the_page_knows_what_a_node_offers():
    said = run(
        {"api/offer.js": "NOTHING, offerOf"},
        """
        const rows = name => ({ get: { parameters: [{ name: "cursor" }, { name: "order" },
          { name: "stream", schema: { enum: ["trades", "alerts"] } }],
          responses: { 200: { content: { "application/json": { schema: { properties: {
            data: { items: { $ref: `#/components/schemas/${name}` } } } } } } } } } });
        const offer = offerOf({ paths: { "/v1/trades": rows("TradeRow"), "/v1/trades/stream": {},
          "/v1/status": {},
          "/v1/snapshots": rows("SnapshotRow") }, components: { securitySchemes: {}, schemas: {
          TradeRow: { properties: { price: { type: "string",
            pattern: "^-?[0-9]+(\\\\.[0-9]*[1-9])?$" },
            side: { type: ["string", "null"] } } },
              SnapshotRow: { properties: { id: { type: "integer" } } } } } });
        say([offer.logs, offer.isStreamed("trades"), offer.isStreamed("snapshots"),
          offer.asksForKeys]);
        say(offer.relations[0]);
        say([offer.has("/v1/status"), offer.takes("/v1/trades", "order"),
          offer.choices("/v1/snapshots", "stream")]);
        say([NOTHING.logs, NOTHING.asksForKeys]);
        """,
    )
    assert said[0] == [["trades", "snapshots"], True, False, True]
    assert said[1] == {
        "name": "trades",
        "columns": [{"name": "price", "type": "decimal"}, {"name": "side", "type": "string"}],
    }
    assert said[2:] == [[True, True, ["trades", "alerts"]], [[], False]]


def test_integers_beyond_a_number_keep_their_digits():
    said = run(
        {"api/json.js": "parseJson"},
        """
        const { ns, small, part } = parseJson(
          '{"ns": 1763899200123456789, "small": 3, "part": 1.5}');
        say([typeof ns === "string" || ns === 1763899200123456789, small, part]);
        """,
    )
    assert said[0] == [True, 3, 1.5]


def test_the_page_is_small_and_names_no_other_host():
    own = {name: text for name, text in files.FILES.items() if not name.startswith("vendor/")}
    assert sum(map(len, own.values())) < 128_000
    assert sum(len(files.packed(name)) for name in own) < 54_000
    linked = {
        address
        for text in own.values()
        for address in re.findall(r"https?://[\w./-]+", text.decode())
    }
    assert linked == {"https://www.tradingview.com/", "http://www.w3.org/2000/svg"}
