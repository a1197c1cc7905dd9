/** The same question at two read points, and what differs. */
import { chip, field, h, select } from "../dom/elements.js";
import { createPanel } from "../dom/panel.js";
import { createProofPanel } from "../dom/proof.js";
import { createTable, number, text } from "../dom/table.js";
import { cell, count, dateTime, plural, words } from "../format.js";
import { MAX_DIFFERENCES, compare, pointParameters } from "../model/compare.js";
import { createSelection, instantOf, keyParameters, timeField } from "./selection.js";

const QUESTIONS = {
  bars: {
    path: "/v1/bars",
    columns: ["open", "high", "low", "close", "volume", "trade_count", "missing", "complete"],
    keyOf: row => `${row.exchange}:${row.symbol} ${row.bar_start.slice(0, 19).replace("T", " ")}`,
  },
  trades: {
    path: "/v1/trades",
    columns: ["price", "quantity", "side", "late", "conditions", "exchange_time"],
    keyOf: row => row.message_id,
  },
};
const CHOICES = [
  ["of", "Compare", Object.keys(QUESTIONS)],
  ["window", "Window", ["1m", "5m", "15m", "1h", "4h", "1d", "7d"]],
  ["interval", "Bar", ["1s", "1m", "5m", "1h"]],
];
const POINTS = [
  ["now", "now"],
  ["snapshot", "a snapshot"],
  ["tag", "a tag"],
  ["known", "as known at"],
  ["token", "a token"],
];
const LIMIT = 5_000,
  MAX_SNAPSHOTS = 200;

export function timeTravelView(place, context, given) {
  const { api } = context;
  const asked = { key: "", of: "bars", window: "15m", interval: "1m", ...given };
  const { node, controls } = createSelection(context, asked, {
    choices: CHOICES,
    onChoice: run,
    more: h("button.primary", { type: "submit" }, "Compare"),
  });
  const sides = [createSide(api, "A", "snapshot", run), createSide(api, "B", "now", run)];
  const summary = h("p.verdict", { role: "status" }),
    table = createTable("Differences", DIFFERENCE_COLUMNS, "Both answers are the same."),
    result = createPanel("What differs", [summary, table.node]);
  place.append(node, h("div.columns", sides.map(side => side.node)), result.node);
  let question = new AbortController();

  async function run() {
    question.abort();
    question = new AbortController();
    controls.interval.disabled = asked.of !== "bars";
    if (!asked.key) {
      for (const panel of [result, ...sides]) panel.empty("Choose a symbol.");
      return;
    }
    result.loading();
    const signal = AbortSignal.any([context.signal, question.signal]);
    await ask(signal).catch(error => signal.aborted || result.failed(error));
  }

  /** Both sides are asked about the same range: that of the newest rows as they are now. */
  async function ask(signal) {
    const { path, columns, keyOf } = QUESTIONS[asked.of];
    const interval = asked.of === "bars" ? asked.interval : undefined;
    const about = { ...keyParameters(asked.key), limit: LIMIT, interval };
    const newest = { ...about, window: asked.window, end: "last" };
    const { meta } = await api.ask(path, newest, { signal });
    const range = { start: String(meta.start_ns), end: String(meta.end_ns) };
    const answers = sides.map(side => side.ask(path, { ...about, ...range }, signal));
    const [a, b] = await Promise.all(answers);
    if (signal.aborted) return;
    if (!a || !b) {
      result.empty("One of the two has no answer.");
      return;
    }
    const { differences, changed, onlyA, onlyB, same } = compare(a.data, b.data, keyOf, columns);
    const counted = [
      `${count(changed)} changed, ${count(onlyA)} only in A, ${count(onlyB)} only in B,`,
      `${plural(same, "row")} the same.`,
      differences.length < MAX_DIFFERENCES ? "" : `The first ${MAX_DIFFERENCES} are listed.`,
    ];
    summary.replaceChildren(
      differences.length ? chip("warn", "They differ") : chip("good", "The same"),
      counted.join(" "),
    );
    table.show(differences);
    result.ready();
  }

  const ofLake = { stream: "trades", limit: MAX_SNAPSHOTS };
  api
    .ask("/v1/snapshots", ofLake, { signal: context.signal })
    .then(({ data }) => {
      const snapshots = data.filter(one => one.token).reverse();
      for (const side of sides) side.setSnapshots(snapshots);
    })
    .catch(() => {}) // a side says that it has none
    .finally(() => context.signal.aborted || run());
}

/** One of the two answers: a panel of its read point and its proof. */
function createSide(api, name, first, change) {
  const kind = select(POINTS, first, () => {
    showControl();
    change();
  });
  const slider = h("input", {
    type: "range",
    min: 0,
    max: 0,
    value: 0,
    on: { input: showSnapshot, change },
  });
  const label = h("output.note"),
    tag = select([], "", change),
    known = timeField("", change),
    token = h("input", { placeholder: "token of an answer", autocomplete: "off", on: { change } });
  const controls = {
    now: [],
    snapshot: [field("Snapshot, the oldest at the left", slider), label],
    tag: [field("Tag", tag)],
    known: [field("Accepted time, UTC", known)],
    token: [field("Token", token)],
  };
  const valueOf = {
    now: () => "now",
    snapshot: () => snapshots[slider.value]?.token,
    tag: () => tag.value,
    known: () => instantOf(known.value),
    token: () => token.value.trim(),
  };
  const control = h("div.point");
  const panel = createProofPanel(`${name}: read at`, {
    above: [h("div.controls", field("Read point", kind), control)],
  });
  let snapshots = [];

  function showControl() {
    control.replaceChildren(...controls[kind.value]);
  }
  function showSnapshot() {
    const one = snapshots[slider.value];
    label.textContent = one ? snapshotText(one) : "No snapshot yet.";
  }
  showControl();
  return {
    ...panel,
    /** The snapshots of the lake, the oldest first: the one in the middle is chosen. */
    setSnapshots(found) {
      snapshots = found;
      slider.max = Math.max(0, found.length - 1);
      slider.value = Math.floor(slider.max / 2);
      tag.replaceChildren(...found.flatMap(tagsOf).map(one => h("option", { value: one }, one)));
      const middle = found[slider.value];
      if (middle) known.value = new Date(middle.timestamp_ms).toISOString().slice(0, 19);
      showSnapshot();
    },
    /** The answer at the read point; null: there is none, and the panel says why. */
    async ask(path, parameters, signal) {
      const value = valueOf[kind.value]();
      if (!value) {
        panel.empty(`There is no ${kind.value === "known" ? "time" : kind.value} to read at.`);
        return null;
      }
      panel.loading();
      try {
        const point = pointParameters({ kind: kind.value, value });
        const answer = await api.ask(path, { ...parameters, ...point }, { signal });
        panel.show(answer.meta);
        return answer;
      } catch (error) {
        if (!signal.aborted) panel.failed(error);
        return null;
      }
    },
  };
}

const tagsOf = snapshot => snapshot.refs.filter(name => name !== "main");
const snapshotText = one =>
  [dateTime(one.timestamp_ms), one.operation, plural(one.rows_total, "row"), ...tagsOf(one)].join(", ");
const shown = (value, column) =>
  column ? cell(value) : value ? `${value.price ?? value.close ?? ""}` : "";
const DIFFERENCE_COLUMNS = [
  text("Of", "key"),
  text("What", ({ what }) => ({ text: what, tone: what === "changed" ? "warn" : "" })),
  text("Column", one => words(one.column)),
  number("A", one => shown(one.a, one.column)),
  number("B", one => shown(one.b, one.column)),
];
