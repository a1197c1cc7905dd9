/** How the pipeline stands: rates, lag and freshness by stage; each log; each line. */
import { h } from "../dom/elements.js";
import { createFacts, createFigures } from "../dom/figures.js";
import { createPanel } from "../dom/panel.js";
import { poll } from "../dom/poll.js";
import { createTablePanel, number, text } from "../dom/table.js";
import {
  NONE, ago, bytes, count, dateTime, duration, isKnown, milliseconds, percent, perSecond, plural,
  rate,
} from "../format.js";
import { problemsOf, toneOfBreaker, toneOfLevel } from "../model/health.js";
import { createProblemPanel } from "./problems.js";

const SLOW_MS = 10_000,
  FRESH_S = 2;
const FRESHNESS = "k2_freshness_seconds",
  COMMITTED = "k2_lake_committed_rows_total";
const STAGES = ["Source", "Tasks", "Log", "Tail", "Lake"];

export function overviewView(place, { api, status, metrics, offer, signal }) {
  const figures = createFigures(),
    stages = STAGES.map(() => createFacts()),
    snapshots = new Map();
  const stage = (title, at) => h("li", h("h3", title), stages[at].node);
  const flow = h("ol.flow", { "aria-label": "The way of a record" }, STAGES.map(stage));
  const problems = createProblemPanel({ classes: ".alarm" }),
    now = createPanel("Now", [figures.node, flow]),
    freshness = createTablePanel("Freshness by stage, last minute", FRESHNESS_COLUMNS, {
      empty: "Nothing was measured in the last minute.",
    }),
    logs = createTablePanel("Logs, sinks and lake", LOG_COLUMNS),
    lines = createTablePanel("Lines", LINE_COLUMNS, {
      empty: "No line has brought a message yet.",
    });
  problems.node.hidden = true;
  place.append(
    problems.node,
    now.node,
    h("div.columns", freshness.node, lines.node),
    logs.node,
  );

  function showNow() {
    const { value } = status.get(),
      { history } = metrics.get();
    if (!value) return;
    figures.show(figuresOf(value, history));
    factsOfStages(value, history, snapshots).forEach((facts, at) => stages[at].show(facts));
  }
  status.watch(({ value, error }) => {
    if (value) {
      const found = problemsOf(value),
        { history } = metrics.get();
      problems.show(found);
      problems.node.hidden = found.length === 0;
      logs.show(
        Object.entries(value.streams ?? {}).map(([name, log]) => ({
          name,
          log,
          snapshot: snapshots.get(name),
          committed: history.rate(COMMITTED, { stream: name }),
        })),
      );
      showNow();
      now.ready();
    }
    if (error) for (const panel of [now, logs]) panel.failed(error);
  }, signal);
  metrics.watch(({ history, error }) => {
    if (error) freshness.failed(error);
    else if (history.newest) {
      freshness.show(measuredOf(history, offer.get().logs));
      showNow();
    }
  }, signal);
  const slowly = (work, onFailure) => poll(work, () => SLOW_MS, { signal, onFailure });
  slowly(async signal => {
    const found = await api.ask("/v1/lines", {}, { signal });
    const partial = `Lines, of partitions ${found.partitions.join(", ") || NONE}`;
    lines.heading.textContent = found.complete ? "Lines" : partial;
    lines.show(found.lines);
  }, lines.failed);
  slowly(async signal => {
    for (const stream of offer.get().choices("/v1/snapshots", "stream")) {
      const asked = api.ask("/v1/snapshots", { stream, limit: 1 }, { signal });
      const found = await asked.catch(() => ({ data: [] })); // shown as none known
      snapshots.set(stream, found.data[0]);
    }
  }, now.failed);
}

function figuresOf(value, history) {
  const fresh = history.quantile(FRESHNESS, 0.99),
    { load } = value;
  return [
    {
      label: "Records in",
      value: perSecond(history.rate("k2_source_records_total")),
      line: history.lines.records,
      note: "of the source",
    },
    {
      label: "Rows accepted",
      value: perSecond(history.rate("k2_accepted_rows_total")),
      line: history.lines.rows,
      note: "written to the logs",
    },
    {
      label: "Lag",
      value: count(value.lag_records),
      line: history.lines.lag,
      note: isKnown(load?.lag_s) ? `records, ${duration(load.lag_s)} of work` : "records",
      tone: load?.lag_s > 60 ? "bad" : "",
    },
    {
      label: "Freshness, 99 %",
      value: duration(fresh),
      note: "append to queryable",
      tone: fresh > FRESH_S ? "warn" : "",
    },
    {
      label: "Level",
      value: value.level,
      note: load?.deferred_records
        ? `${plural(load.deferred_records, "record")} deferred`
        : "nothing deferred",
      tone: toneOfLevel(value.level),
    },
    {
      label: "Memory",
      value: percent(load?.memory_share),
      line: history.lines.memory,
      note: `${bytes(value.memory_bytes)} of ${bytes(load?.memory_limit_bytes)}`,
      tone: load?.memory_share > 0.85 ? "bad" : "",
    },
  ];
}

/** Of each of the stages. */
function factsOfStages(value, history, snapshots) {
  const tasks = Object.values(value.partitions ?? {}),
    logs = Object.values(value.streams ?? {});
  const sum = (all, read) => all.reduce((total, one) => total + (read(one) ?? 0), 0);
  const running = tasks.filter(one => one.state === "running").length;
  const newest = Math.max(0, ...[...snapshots.values()].map(one => one?.timestamp_ms ?? 0));
  const perS = name => perSecond(history.rate(name));
  return [
    [
      ["In", perS("k2_source_records_total")],
      ["Lag", count(value.lag_records)],
    ],
    [
      ["Running", `${running} of ${tasks.length}`, running < tasks.length ? "warn" : ""],
      ["Deferred", count(sum(tasks, one => one.deferred_records))],
    ],
    [
      ["Written", perS("k2_accepted_rows_total")],
      ["Dead letters", count(sum(logs, log => log.dead_letters))],
    ],
    [
      ["Rows", count(sum(logs, log => log.tail?.rows))],
      ["Memory", bytes(sum(logs, log => log.tail?.memory_bytes))],
    ],
    [
      ["Committed", perS(COMMITTED)],
      ["Newest snapshot", newest ? agoMs(newest) : NONE],
    ],
  ];
}

/** Each stage that is measured: how long it took in the last minute. */
function measuredOf(history, logs) {
  const measured = (stage, log, metric, labels, slow = FRESH_S) => {
    const [p50, p99] = [0.5, 0.99].map(q => history.quantile(metric, q, labels));
    return { stage, log, slow, p50, p99 };
  };
  return [
    measured("Checkpoint", "all", "k2_checkpoint_seconds", {}),
    ...logs.map(log => measured("Append to queryable", log, FRESHNESS, { stream: log })),
    ...logs.map(log => measured("Lake commit", log, "k2_lake_commit_seconds", { stream: log }, 10)),
    ...logs.map(log => measured("Query", log, "k2_http_request_seconds", { path: `/v1/${log}` })),
  ].filter(one => one.p50 !== null);
}
const FRESHNESS_COLUMNS = [
  text("Stage", "stage"),
  text("Log", "log"),
  number("Median", one => duration(one.p50)),
  number("99 %", one => ({ text: duration(one.p99), tone: one.p99 > one.slow ? "warn" : "" })),
];

const agoMs = ms => ago((Date.now() - ms) / 1000);
function breaker({ log: { breaker: one } }) {
  if (!one) return NONE;
  return { text: one.state, tone: toneOfBreaker(one.state), title: `for ${duration(one.since_s)}` };
}
function maintenance({ log: { maintenance: one } }) {
  if (one?.error) return { text: one.error, tone: "warn" };
  if (!one?.working) return "another worker's";
  return {
    text: isKnown(one.looked_s_ago) ? `looked ${ago(one.looked_s_ago)}` : "working",
    title: `${count(one.compacted_files)} files compacted, ${count(one.deleted_files)} deleted`,
  };
}
const LOG_COLUMNS = [
  text("Log", "name"),
  number("Tail rows", ({ log }) => count(log.tail?.rows)),
  number("Tail memory", ({ log }) => bytes(log.tail?.memory_bytes)),
  number(
    "Sink buffer",
    ({ log }) => count(log.sink?.buffered_rows),
    "Rows that are not committed yet",
  ),
  number("Committed /s", ({ committed }) => rate(committed)),
  text("Snapshot", ({ snapshot }) =>
    snapshot
      ? { text: agoMs(snapshot.timestamp_ms), title: dateTime(snapshot.timestamp_ms) }
      : NONE,
  ),
  number("Lake rows", ({ snapshot }) => count(snapshot?.rows_total)),
  number("Files", ({ snapshot }) => count(snapshot?.files)),
  text("Breaker", breaker),
  text("Maintenance", maintenance),
];
const LINE_COLUMNS = [
  text("Exchange", "exchange"),
  text("Line", one => one.line || NONE),
  number("Received", "received"),
  number(
    "First",
    one => percent(one.first_share),
    "Share of the exchange's messages that came first by this line",
  ),
  number(
    "Loss",
    one => ({ text: percent(one.loss), tone: one.loss > 0.05 ? "warn" : "" }),
    "Share of messages of which this line brought no copy",
  ),
  number("Delay", one => milliseconds(one.delay_ms), "Mean of append time less event time"),
  number("Behind first", one => milliseconds(one.lag_ms)),
  text("Last message", one => dateTime(one.seen_ms)),
];
