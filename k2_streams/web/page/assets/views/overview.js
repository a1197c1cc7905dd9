/** How the pipeline stands: rates, lag and freshness by stage; each log; each line. */
import { createFacts, createFigures } from "../dom/figures.js";
import { createPanel } from "../dom/panel.js";
import { poll } from "../dom/poll.js";
import { createTable, number, text, wide } from "../dom/table.js";
import { h } from "../dom/elements.js";
import {
  ago,
  bytes,
  count,
  dateTime,
  duration,
  isKnown,
  milliseconds,
  NONE,
  perSecond,
  percent,
  plural,
  rate,
} from "../format.js";
import { problemsOf, toneOfBreaker, toneOfLevel } from "../model/health.js";
import { largest, total } from "../model/metrics.js";

const SLOW_MS = 10_000,
  FRESH_S = 2;
const FRESHNESS = "k2_freshness_seconds";

export function overviewView(place, { api, status, metrics, offer, signIn }) {
  const figures = createFigures(),
    problems = createTable({
      label: "Problems",
      columns: [
        text("What", one => ({ text: one.what, tone: one.tone })),
        wide("Why", one => one.text),
      ],
    });
  const stages = ["Source", "Tasks", "Log", "Tail", "Lake"].map(title => ({
    title,
    facts: createFacts(),
  }));
  const flow = h(
    "ol",
    { class: "flow", "aria-label": "The way of a record" },
    stages.map(({ title, facts }) => h("li", {}, h("h3", {}, title), facts.node)),
  );
  const freshness = createTable({
    label: "Freshness by stage",
    empty: "Nothing was measured in the last minute.",
    columns: [
      text("Stage", one => one.stage),
      text("Log", one => one.log),
      number("Median", one => duration(one.p50)),
      number("99 %", one => ({ text: duration(one.p99), tone: one.p99 > one.slow ? "warn" : "" })),
    ],
  });
  const logs = createTable({ label: "Logs", columns: LOG_COLUMNS });
  const lines = createTable({
    label: "Lines",
    empty: "No line has brought a message yet.",
    columns: LINE_COLUMNS,
  });
  const parts = {
    problems: createPanel({ title: "Problems", content: [problems.node], className: "alarm" }),
    now: createPanel({ title: "Now", content: [figures.node, flow], onSignIn: signIn }),
    freshness: createPanel({
      title: "Freshness by stage, last minute",
      content: [freshness.node],
      onSignIn: signIn,
    }),
    logs: createPanel({ title: "Logs, sinks and lake", content: [logs.node], onSignIn: signIn }),
    lines: createPanel({ title: "Lines", content: [lines.node], onSignIn: signIn }),
  };
  parts.problems.node.hidden = true;
  place.append(
    parts.problems.node,
    parts.now.node,
    h("div", { class: "columns" }, parts.freshness.node, parts.lines.node),
    parts.logs.node,
  );
  for (const part of [parts.now, parts.freshness, parts.logs, parts.lines]) part.loading();
  const snapshots = new Map();

  function showStatus() {
    const { value, error } = status.get();
    if (value) {
      const found = problemsOf(value);
      problems.show(found);
      parts.problems.node.hidden = found.length === 0;
      parts.problems.ready();
      logs.show(
        Object.entries(value.streams ?? {}).map(([name, log]) => ({
          name,
          log,
          snapshot: snapshots.get(name),
          history: metrics.get().history,
        })),
      );
      parts.logs.ready();
      showNow(value, metrics.get().history);
      parts.now.ready();
    }
    if (error) for (const part of [parts.now, parts.logs]) part.failed(error);
  }
  function showNow(value, history) {
    figures.show(figuresOf(value, history));
    const of = stageFacts(value, history, snapshots);
    for (const { title, facts } of stages) facts.show(of[title]);
  }
  function showMetrics() {
    const { history, error } = metrics.get();
    if (error) {
      parts.freshness.failed(error);
      return;
    }
    if (!history.newest) return;
    freshness.show(stagesOf(history, offer.get().logs));
    parts.freshness.ready();
    if (status.get().value) showNow(status.get().value, history);
  }
  const slow = poll(
    async signal => {
      await askLines(api, signal, lines, parts.lines);
      for (const name of offer.get().choices("/v1/snapshots", "stream"))
        await api.ask("/v1/snapshots", { stream: name, limit: 1 }, { signal }).then(
          ({ data }) => snapshots.set(name, data[0] ?? null),
          () => snapshots.delete(name),
        );
    },
    () => SLOW_MS,
  );
  const endings = [status.watch(showStatus), metrics.watch(showMetrics), slow.end];
  return { stop: () => endings.forEach(end => end()) };
}

async function askLines(api, signal, lines, panel) {
  try {
    const found = await api.ask("/v1/lines", {}, { signal });
    lines.show(found.lines);
    panel.heading.textContent = found.complete
      ? "Lines"
      : `Lines, of partitions ${found.partitions.join(", ") || NONE}`;
    panel.ready();
  } catch (error) {
    if (!signal.aborted) panel.failed(error);
  }
}

function figuresOf(value, history) {
  const fresh = history.quantile(FRESHNESS, 0.99);
  const lagS = value.load?.lag_s;
  return [
    {
      label: "Records in",
      value: perSecond(history.rate("k2_source_records_total")),
      line: history.rates("k2_source_records_total"),
      note: "of the source",
    },
    {
      label: "Rows accepted",
      value: perSecond(history.rate("k2_accepted_rows_total")),
      line: history.rates("k2_accepted_rows_total"),
      note: "written to the logs",
    },
    {
      label: "Lag",
      value: count(value.lag_records),
      line: history.values(scrape => total(scrape, "k2_lag_records")),
      note: isKnown(lagS) ? `records, ${duration(lagS)} of work` : "records",
      tone: lagS > 60 ? "bad" : "",
    },
    {
      label: "Freshness, 99 %",
      value: duration(fresh),
      tone: fresh > FRESH_S ? "warn" : "",
      note: "append to queryable",
    },
    {
      label: "Level",
      value: value.level,
      tone: toneOfLevel(value.level),
      note: deferredNote(value.load),
    },
    {
      label: "Memory",
      value: percent(value.load?.memory_share),
      tone: value.load?.memory_share > 0.85 ? "bad" : "",
      line: history.values(scrape => largest(scrape, "k2_memory_used_ratio")),
      note: `${bytes(value.memory_bytes)} of ${bytes(value.load?.memory_limit_bytes)}`,
    },
  ];
}

const deferredNote = load =>
  load?.deferred_records
    ? `${plural(load.deferred_records, "record")} deferred`
    : "nothing deferred";

function stageFacts(value, history, snapshots) {
  const tasks = Object.values(value.partitions ?? {}),
    logs = Object.values(value.streams ?? {});
  const sum = read => logs.reduce((all, log) => all + (read(log) ?? 0), 0);
  const running = tasks.filter(one => one.state === "running").length;
  const newest = Math.max(...[...snapshots.values()].map(one => one?.timestamp_ms ?? 0), 0);
  const perS = name => perSecond(history.rate(name));
  return {
    Source: [
      ["In", perS("k2_source_records_total")],
      ["Lag", count(value.lag_records)],
    ],
    Tasks: [
      ["Running", `${running} of ${tasks.length}`, running < tasks.length ? "warn" : ""],
      ["Deferred", count(tasks.reduce((all, one) => all + one.deferred_records, 0))],
    ],
    Log: [
      ["Written", perS("k2_accepted_rows_total")],
      ["Dead letters", count(sum(log => log.dead_letters))],
    ],
    Tail: [
      ["Rows", count(sum(log => log.tail?.rows))],
      ["Memory", bytes(sum(log => log.tail?.memory_bytes))],
    ],
    Lake: [
      ["Committed", perS("k2_lake_committed_rows_total")],
      ["Newest snapshot", newest ? ago((Date.now() - newest) / 1000) : NONE],
    ],
  };
}

/** Each stage that is measured: how long it took in the last minute. */
function stagesOf(history, logs) {
  const of = (stage, log, name, labels, slow) => ({
    stage,
    log,
    slow,
    p50: history.quantile(name, 0.5, labels),
    p99: history.quantile(name, 0.99, labels),
  });
  return [
    of("Checkpoint", "all", "k2_checkpoint_seconds", {}, FRESH_S),
    ...logs.map(log => of("Append to queryable", log, FRESHNESS, { stream: log }, FRESH_S)),
    ...logs.map(log => of("Lake commit", log, "k2_lake_commit_seconds", { stream: log }, 10)),
    ...logs.map(log =>
      of("Query", log, "k2_http_request_seconds", { path: `/v1/${log}` }, FRESH_S),
    ),
  ].filter(one => one.p50 !== null);
}

const breaker = part =>
  part
    ? { text: part.state, tone: toneOfBreaker(part.state), title: `for ${duration(part.since_s)}` }
    : NONE;
const LOG_COLUMNS = [
  text("Log", ({ name }) => name),
  number("Tail rows", ({ log }) => count(log.tail?.rows)),
  number("Tail memory", ({ log }) => bytes(log.tail?.memory_bytes)),
  number(
    "Sink buffer",
    ({ log }) => count(log.sink?.buffered_rows),
    "Rows that are not committed yet",
  ),
  number("Committed /s", ({ name, history }) =>
    rate(history.rate("k2_lake_committed_rows_total", { stream: name })),
  ),
  text("Snapshot", ({ snapshot }) => ({
    text: snapshot ? ago((Date.now() - snapshot.timestamp_ms) / 1000) : NONE,
    title: snapshot ? dateTime(snapshot.timestamp_ms) : "",
  })),
  number("Lake rows", ({ snapshot }) => count(snapshot?.rows_total)),
  number("Files", ({ snapshot }) => count(snapshot?.files)),
  text("Breaker", ({ log }) => breaker(log.breaker)),
  text("Maintenance", ({ log: { maintenance } }) =>
    maintenance?.error
      ? { text: maintenance.error, tone: "warn" }
      : maintenance?.working
        ? {
            text: isKnown(maintenance.looked_s_ago)
              ? `looked ${ago(maintenance.looked_s_ago)}`
              : "working",
            title: `${count(maintenance.compacted_files)} files compacted, ${count(maintenance.deleted_files)} deleted`,
          }
        : "another worker's",
  ),
];
const LINE_COLUMNS = [
  text("Exchange", one => one.exchange),
  text("Line", one => one.line || NONE),
  number("Received", one => count(one.received)),
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
  text("Last message", one => ({ text: dateTime(one.seen_ms) })),
];
