/** What an operator looks at: values that alerts watch, partitions, background tasks, breakers, dead
 *  letters, coverage, maintenance. What a node does not offer is named. */
import { h } from "../dom/elements.js";
import { createPanel } from "../dom/panel.js";
import { poll } from "../dom/poll.js";
import { columnsOf, createTable, number, text, wide } from "../dom/table.js";
import { ago, count, duration, isKnown, NONE, plural, words } from "../format.js";
import { watchedValues } from "../model/alerts.js";
import { problemsOf, toneOfBreaker, toneOfTask } from "../model/health.js";

const SLOW_MS = 5_000,
  LISTED = 100;
/** Ledgers that a node may offer: path, title, and the columns that matter, in order. */
const LEDGERS = [
  {
    path: "/v1/dead-letters",
    title: "Dead letters",
    parameters: { order: "desc" },
    columns:
      "append_time accepted_time reason field detail feed source_partition source_offset redrive_id".split(
        " ",
      ),
  },
  {
    path: "/v1/coverage",
    title: "Coverage",
    parameters: {},
    columns:
      "exchange symbol trading_date session expected received late missing abandoned dead deferred condition".split(
        " ",
      ),
  },
];

export function operationsView(place, { api, status, metrics, offer, signIn }) {
  const problems = createTable({
    label: "Problems",
    empty: "Nothing is wrong.",
    columns: [
      text("What", one => ({ text: one.what, tone: one.tone })),
      wide("Why", one => one.text),
    ],
  });
  const watched = createTable({
    label: "Values that alerts watch",
    columns: [
      text("State", one =>
        one.isRaised
          ? { text: "raised", tone: "bad" }
          : { text: one.isKnown ? "within" : "no series", tone: one.isKnown ? "good" : "" },
      ),
      number("Value", one => one.value),
      wide("Watches", one => one.about),
      text("Alert", one => one.alert),
    ],
  });
  const partitions = createTable({
    label: "Partitions",
    columns: PARTITION_COLUMNS,
    empty: "This worker owns no partition.",
  });
  const tasks = createTable({
    label: "Background tasks",
    columns: [
      text("Task", one => one.name),
      text("State", one => ({
        text: one.state ?? "runs once",
        tone: one.state ? toneOfTask(one.state) : "",
      })),
      number("Failures", one => count(one.failures)),
      number("Starts again in", one => (isKnown(one.retry_in_s) ? duration(one.retry_in_s) : NONE)),
      wide("Last error", one => one.last_error),
    ],
  });
  const breakers = createTable({
    label: "Circuit breakers",
    columns: [
      text("Log", one => one.log),
      text("Before", one => one.before),
      text("State", one => ({ text: one.state, tone: toneOfBreaker(one.state) })),
      number("For", one => duration(one.since_s)),
      number("Failures", one => count(one.failures)),
      number("Tries in", one => (one.state === "closed" ? NONE : duration(one.retry_after_s))),
    ],
  });
  const upkeep = createTable({ label: "Maintenance of the lake", columns: UPKEEP_COLUMNS });
  const panel = (title, table) => createPanel({ title, content: [table.node], onSignIn: signIn });
  const parts = {
    problems: panel("Problems", problems),
    watched: panel("Values that alerts watch", watched),
    partitions: panel("Partitions", partitions),
    tasks: panel("Background tasks", tasks),
    breakers: panel("Circuit breakers", breakers),
    upkeep: panel("Maintenance of the lake", upkeep),
  };
  const ledgers = LEDGERS.map(one => ({
    ...one,
    panel: createPanel({ title: one.title, onSignIn: signIn }),
    table: null,
  }));
  const absent = h("ul", { class: "reasons" }),
    notHere = createPanel({ title: "Not offered by this node", content: [absent] });
  place.append(
    parts.problems.node,
    parts.partitions.node,
    h(
      "div",
      { class: "columns" },
      parts.watched.node,
      h("div", { class: "column" }, parts.breakers.node, parts.tasks.node),
    ),
    ...ledgers.map(one => one.panel.node),
    parts.upkeep.node,
    notHere.node,
  );
  notHere.node.hidden = true;
  notHere.ready();
  for (const part of [...Object.values(parts), ...ledgers.map(one => one.panel)]) part.loading();

  function showStatus() {
    const { value, error } = status.get(),
      ofStatus = [parts.problems, parts.partitions, parts.tasks, parts.breakers, parts.upkeep];
    if (value) {
      const named = found => Object.entries(found ?? {}).map(([name, one]) => ({ name, ...one }));
      problems.show(problemsOf(value));
      partitions.show(named(value.partitions));
      tasks.show(named(value.background_tasks));
      breakers.show(
        named(value.streams).flatMap(({ name, breaker, store_breaker: store }) => [
          ...(breaker ? [{ log: name, before: "lake", ...breaker }] : []),
          ...(store ? [{ log: name, before: "object store", ...store }] : []),
        ]),
      );
      upkeep.show(
        named(value.streams)
          .filter(one => one.maintenance)
          .map(one => ({ log: one.name, ...one.maintenance })),
      );
      for (const part of ofStatus) part.ready();
    }
    if (error) for (const part of ofStatus) part.failed(error);
  }
  function showMetrics() {
    const { history, error } = metrics.get();
    if (error) parts.watched.failed(error);
    else if (history.newest) {
      watched.show(watchedValues(history.newest));
      parts.watched.ready();
    }
  }

  function showAbsent() {
    if (!offer.get().has("/v1/status")) return; // the node has not described itself yet
    const lacking = ledgers.filter(one => !offer.get().has(one.path));
    for (const ledger of ledgers) ledger.panel.node.hidden = lacking.includes(ledger);
    notHere.node.hidden = lacking.length === 0;
    absent.replaceChildren(...lacking.map(one => h("li", {}, notOffered(one, status.get().value))));
  }

  async function askLedger(ledger, signal) {
    if (!offer.get().has(ledger.path)) return;
    try {
      const accepted = Object.entries({ ...ledger.parameters, limit: LISTED }).filter(([name]) =>
        offer.get().takes(ledger.path, name),
      );
      const { data } = await api.ask(ledger.path, Object.fromEntries(accepted), { signal });
      ledger.table ??= ledgerTable(ledger, data);
      ledger.table?.show(data);
      if (data.length) ledger.panel.ready();
      else ledger.panel.empty("None.");
    } catch (error) {
      if (!signal.aborted) ledger.panel.failed(error);
    }
  }

  const endings = [
    status.watch(showStatus),
    status.watch(showAbsent),
    metrics.watch(showMetrics),
    poll(
      async signal => {
        for (const ledger of ledgers) await askLedger(ledger, signal);
      },
      () => SLOW_MS,
    ).end,
  ];
  return { stop: () => endings.forEach(end => end()) };
}

/** Of a ledger, once it has rows: their columns, those that matter first. */
function ledgerTable({ title, columns, panel }, data) {
  if (!data.length) return null;
  const names = columns.filter(name => name in data[0]);
  const table = createTable({
    label: title,
    columns: columnsOf(names.length ? names : Object.keys(data[0]).slice(0, 10), data, words),
  });
  panel.body.replaceChildren(table.node);
  return table;
}

function notOffered({ path, title }, status) {
  const letters = Object.values(status?.streams ?? {}).reduce(
    (sum, log) => sum + (log.dead_letters ?? 0),
    0,
  );
  const known =
    title === "Dead letters"
      ? ` It has counted ${plural(letters, "dead letter")}; the topic k2.dead-letter has them.`
      : "";
  return `${title} (${path}).${known}`;
}

const PARTITION_COLUMNS = [
  text("Partition", one => one.name),
  text("State", one => ({ text: one.state, tone: toneOfTask(one.state) })),
  number("Next offset", one => count(one.next_offset)),
  number("Committed", one => count(one.committed_offset)),
  number("Lag", one => count(one.lag_records)),
  number("Deferred", one => ({
    text: count(one.deferred_records),
    tone: one.deferred_records ? "warn" : "",
  })),
  number("Checkpoints", one => count(one.checkpoints)),
  number("Scopes", one => count(one.scopes)),
  wide("Error", one => ({
    text: one.error ?? one.failure?.error ?? "",
    tone: one.error ? "bad" : "warn",
  })),
];
const UPKEEP_COLUMNS = [
  text("Log", one => one.log),
  text("Works here", one => (one.working ? "yes" : "no")),
  text("Looked", one => ago(one.looked_s_ago)),
  number("Files", one => count(one.table_files)),
  number("Compacted files", one => count(one.compacted_files)),
  number("Compacted rows", one => count(one.compacted_rows)),
  number("Expired snapshots", one => count(one.expired_snapshots)),
  number("Deleted files", one => count(one.deleted_files)),
  number("Left as they are", one => ({
    text: count(one.unfit_files),
    tone: one.unfit_files ? "warn" : "",
  })),
  wide("Error", one => ({ text: one.error, tone: "bad" })),
];
