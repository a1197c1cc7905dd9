/** What an operator looks at: values that alerts watch, partitions, background tasks, breakers, dead
 *  letters, coverage, repairs, maintenance. What a node does not offer is named. */
import { h } from "../dom/elements.js";
import { createPanel } from "../dom/panel.js";
import { poll } from "../dom/poll.js";
import { columnsOf, createTablePanel, number, text, wide } from "../dom/table.js";
import { NONE, ago, count, duration, plural, words } from "../format.js";
import { watchedValues } from "../model/alerts.js";
import { named, problemsOf, toneOfBreaker, toneOfTask } from "../model/health.js";
import { createProblemPanel } from "./problems.js";

const SLOW_MS = 5_000,
  LISTED = 100;
/** Of a ledger's columns none of which is known here. */
const MAX_COLUMNS = 10;
/** Ledgers that a node may offer: path, title, and the columns that matter, in order. */
const LEDGERS = [
  {
    path: "/v1/dead-letters",
    title: "Dead letters",
    columns:
      "append_time accepted_time reason field detail feed source_partition source_offset redrive_id",
    instead: ({ streams }) => {
      const letters = named(streams).reduce((sum, log) => sum + (log.dead_letters ?? 0), 0);
      return ` It has counted ${plural(letters, "dead letter")}; the topic k2.dead-letter has them.`;
    },
  },
  {
    path: "/v1/coverage",
    title: "Coverage",
    columns:
      "exchange symbol trading_date session expected received late missing abandoned dead deferred condition",
    instead: () => "",
  },
  {
    path: "/v1/repairs",
    title: "Repairs",
    columns: "started repair_id symbol session first last asked received filled abandoned by source",
    instead: () => "",
  },
];

export function operationsView(place, { api, status, metrics, offer, signal }) {
  const problems = createProblemPanel({ empty: "Nothing is wrong." }),
    watched = createTablePanel("Values that alerts watch", WATCHED_COLUMNS),
    partitions = createTablePanel("Partitions", PARTITION_COLUMNS, {
      empty: "This worker owns no partition.",
    }),
    tasks = createTablePanel("Background tasks", TASK_COLUMNS),
    breakers = createTablePanel("Circuit breakers", BREAKER_COLUMNS),
    upkeep = createTablePanel("Maintenance of the lake", UPKEEP_COLUMNS),
    ledgers = LEDGERS.map(createLedger),
    absent = h("ul.reasons"),
    notHere = createPanel("Not offered by this node", absent);
  place.append(
    problems.node,
    partitions.node,
    h("div.columns", watched.node, h("div.column", breakers.node, tasks.node)),
    ...ledgers.map(one => one.node),
    upkeep.node,
    notHere.node,
  );
  notHere.ready();

  status.watch(({ value, error }) => {
    if (value) {
      const logs = named(value.streams);
      problems.show(problemsOf(value));
      partitions.show(named(value.partitions));
      tasks.show(named(value.background_tasks));
      breakers.show(logs.flatMap(breakersOf));
      upkeep.show(
        logs.flatMap(({ name, maintenance }) => (maintenance ? [{ log: name, ...maintenance }] : [])),
      );
    }
    if (error)
      for (const panel of [problems, partitions, tasks, breakers, upkeep]) panel.failed(error);
  }, signal);
  metrics.watch(({ history, error }) => {
    if (error) watched.failed(error);
    else if (history.newest) watched.show(watchedValues(history.newest));
  }, signal);
  status.watch(({ value }) => {
    const isDescribed = offer.get().has("/v1/status");
    for (const { node, path } of ledgers) node.hidden = isDescribed && !offer.get().has(path);
    const lacking = ledgers.filter(one => one.node.hidden);
    notHere.node.hidden = lacking.length === 0;
    absent.replaceChildren(
      ...lacking.map(one => h("li", `${one.title} (${one.path}).${one.instead(value ?? {})}`)),
    );
  }, signal);
  for (const ledger of ledgers)
    poll(ledger.ask, () => SLOW_MS, { signal, onFailure: ledger.failed });

  function createLedger({ path, title, columns, instead }) {
    const panel = createTablePanel(title, rows => columnsOf(shownOf(rows), rows, words));
    /** Of the fields of rows: those that matter, first. */
    function shownOf([row = {}]) {
      const known = columns.split(" ").filter(name => name in row);
      return known.length ? known : Object.keys(row).slice(0, MAX_COLUMNS);
    }
    async function ask(signal) {
      if (!offer.get().has(path)) return;
      const parameters = Object.entries({ order: "desc", limit: LISTED });
      const taken = parameters.filter(([name]) => offer.get().takes(path, name));
      const { data } = await api.ask(path, Object.fromEntries(taken), { signal });
      panel.show(data);
    }
    return { ...panel, path, title, instead, ask };
  }
}

const breakersOf = ({ name: log, breaker, store_breaker: store }) => [
  ...(breaker ? [{ log, before: "lake", ...breaker }] : []),
  ...(store ? [{ log, before: "object store", ...store }] : []),
];

const WATCHED_COLUMNS = [
  text("State", one =>
    one.isRaised
      ? { text: "raised", tone: "bad" }
      : { text: one.isKnown ? "within" : "no series", tone: one.isKnown ? "good" : "" },
  ),
  number("Value", one => one.value),
  wide("Watches", "about"),
  text("Alert", "alert"),
];
const PARTITION_COLUMNS = [
  text("Partition", "name"),
  text("State", one => ({ text: one.state, tone: toneOfTask(one.state) })),
  number("Next offset", "next_offset"),
  number("Committed", "committed_offset"),
  number("Lag", "lag_records"),
  number("Deferred", one => ({
    text: count(one.deferred_records),
    tone: one.deferred_records ? "warn" : "",
  })),
  number("Checkpoints", "checkpoints"),
  number("Scopes", "scopes"),
  wide("Error", one => ({
    text: one.error ?? one.failure?.error ?? "",
    tone: one.error ? "bad" : "warn",
  })),
];
const TASK_COLUMNS = [
  text("Task", "name"),
  text("State", ({ state }) => ({
    text: state ?? "runs once",
    tone: state ? toneOfTask(state) : "",
  })),
  number("Failures", "failures"),
  number("Starts again in", one => duration(one.retry_in_s)),
  wide("Last error", "last_error"),
];
const BREAKER_COLUMNS = [
  text("Log", "log"),
  text("Before", "before"),
  text("State", ({ state }) => ({ text: state, tone: toneOfBreaker(state) })),
  number("For", one => duration(one.since_s)),
  number("Failures", "failures"),
  number("Tries in", one => (one.state === "closed" ? NONE : duration(one.retry_after_s))),
];
const UPKEEP_COLUMNS = [
  text("Log", "log"),
  text("Works here", one => (one.working ? "yes" : "no")),
  text("Looked", one => ago(one.looked_s_ago)),
  number("Files", "table_files"),
  number("Compacted files", "compacted_files"),
  number("Compacted rows", "compacted_rows"),
  number("Expired snapshots", "expired_snapshots"),
  number("Deleted files", "deleted_files"),
  number("Left as they are", one => ({
    text: count(one.unfit_files),
    tone: one.unfit_files ? "warn" : "",
  })),
  wide("Error", one => ({ text: one.error, tone: "bad" })),
];
