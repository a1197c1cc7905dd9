/** The same question at two read points, and what differs. */
import { chip, createChoices, createForm, field, h, select } from "../dom/elements.js";
import { createPanel } from "../dom/panel.js";
import { createProof } from "../dom/proof.js";
import { createTable, number, text } from "../dom/table.js";
import { cell, count, dateTime, plural, words } from "../format.js";
import { MAX_DIFFERENCES, compare, pointParameters } from "../model/compare.js";
import { createKeyField, keyParameters } from "./key_field.js";

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
const WINDOWS = ["1m", "5m", "15m", "1h", "4h", "1d", "7d"],
  INTERVALS = ["1s", "1m", "5m", "1h"],
  LIMIT = 5_000;

export function timeTravelView(place, context, given) {
  const { api, signIn } = context;
  const asked = { key: "", of: "bars", window: "15m", interval: "1m", ...given };
  const choice = createChoices(asked, choose);
  const key = createKeyField(context, asked.key, () => choose({ key: key.value() }));
  const of = choice("of", [
    ["bars", "bars"],
    ["trades", "trades"],
  ]);
  const window = choice("window", WINDOWS);
  const interval = choice("interval", INTERVALS);
  const sides = ["A", "B"].map((name, at) =>
    createSide(name, at ? "now" : "snapshot", () => run()),
  );
  const summary = h("p", { class: "verdict", role: "status" });
  const table = createTable({
    label: "Differences",
    empty: "Both answers are the same.",
    columns: [
      text("Of", one => one.key),
      text("What", one => ({ text: one.what, tone: one.what === "changed" ? "warn" : "" })),
      text("Column", one => words(one.column)),
      number("A", one => shown(one.a, one.column)),
      number("B", one => shown(one.b, one.column)),
    ],
  });
  const result = createPanel({
    title: "What differs",
    content: [summary, table.node],
    onSignIn: signIn,
  });
  place.append(
    createForm(
      "controls",
      () => choose({ key: key.value() }),
      key.node,
      field("Compare", of),
      field("Window", window),
      field("Bar", interval),
      h("button", { type: "submit", class: "primary" }, "Compare"),
    ),
    h(
      "div",
      { class: "columns" },
      sides.map(side => side.panel.node),
    ),
    result.node,
  );
  let ending = new AbortController();

  function choose(change) {
    Object.assign(asked, change);
    interval.disabled = asked.of !== "bars";
    context.remember("time-travel", asked);
    run();
  }

  /** Both sides are asked about the same range: that of the newest rows as they are now. */
  async function run() {
    ending.abort();
    ending = new AbortController();
    const { signal } = ending;
    if (!asked.key) {
      for (const part of [result, ...sides.map(side => side.panel)]) part.empty("Choose a symbol.");
      return;
    }
    result.loading();
    const { path, columns, keyOf } = QUESTIONS[asked.of];
    const about = {
      ...keyParameters(asked.key),
      limit: LIMIT,
      ...(asked.of === "bars" ? { interval: asked.interval } : {}),
    };
    try {
      const { meta } = await api.ask(
        path,
        { ...about, window: asked.window, end: "last" },
        { signal },
      );
      const range = { start: String(meta.start_ns), end: String(meta.end_ns) };
      const answers = await Promise.all(
        sides.map(side => side.ask(path, { ...about, ...range }, signal)),
      );
      if (answers.includes(null)) {
        result.empty("One of the two has no answer.");
        return;
      }
      const found = compare(answers[0].data, answers[1].data, keyOf, columns);
      summary.replaceChildren(
        chip(
          found.differences.length ? "warn" : "good",
          found.differences.length ? "They differ" : "The same",
        ),
        `${count(found.changed)} changed, ${count(found.onlyA)} only in A, ${count(found.onlyB)} only in B, ${plural(found.same, "row")} the same.` +
          (found.differences.length === MAX_DIFFERENCES
            ? ` The first ${MAX_DIFFERENCES} are listed.`
            : ""),
      );
      table.show(found.differences);
      result.ready();
    } catch (error) {
      if (!signal.aborted) result.failed(error);
    }
  }

  /** One of the two answers: its read point and its proof. */
  function createSide(name, first, onChange) {
    const kinds = [
      ["now", "now"],
      ["snapshot", "a snapshot"],
      ["tag", "a tag"],
      ["known", "as known at"],
      ["token", "a token"],
    ];
    const kind = select(kinds, first, {
      on: {
        change: () => {
          showControl();
          onChange();
        },
      },
    });
    const slider = h("input", {
      type: "range",
      min: 0,
      max: 0,
      value: 0,
      on: { input: showSnapshot, change: onChange },
    });
    const label = h("output", { class: "note" });
    const tag = h("select", { on: { change: onChange } });
    const known = h("input", { type: "datetime-local", step: 1, on: { change: onChange } });
    const token = h("input", {
      type: "text",
      placeholder: "token of an answer",
      autocomplete: "off",
      on: { change: onChange },
    });
    const controls = {
      snapshot: [field("Snapshot, the oldest at the left", slider), label],
      tag: [field("Tag", tag)],
      known: [field("Accepted time, UTC", known)],
      token: [field("Token", token)],
      now: [],
    };
    const control = h("div", { class: "point" }),
      proof = createProof();
    const panel = createPanel({
      title: `${name}: read at`,
      content: [proof.node],
      onSignIn: signIn,
    });
    panel.node
      .querySelector(".head")
      .after(h("div", { class: "controls" }, field("Read point", kind), control));
    let snapshots = [];
    function showControl() {
      control.replaceChildren(...controls[kind.value]);
    }
    function showSnapshot() {
      const one = snapshots[slider.value];
      label.textContent = one
        ? `${dateTime(one.timestamp_ms)}, ${one.operation}, ${plural(one.rows_total, "row")}` +
          (tagsOf(one).length ? `, ${tagsOf(one).join(", ")}` : "")
        : "No snapshot yet.";
    }
    showControl();
    return {
      panel,
      /** The snapshots of the lake, the oldest first. */
      setSnapshots(found) {
        snapshots = found;
        slider.max = Math.max(0, found.length - 1);
        slider.value = Math.max(0, Math.floor((found.length - 1) / 2));
        tag.replaceChildren(
          ...found.flatMap(one => tagsOf(one)).map(one => h("option", { value: one }, one)),
        );
        if (found.length)
          known.value = new Date(found[Math.floor((found.length - 1) / 2)].timestamp_ms)
            .toISOString()
            .slice(0, 19);
        showSnapshot();
      },
      async ask(path, parameters, signal) {
        const value = {
          now: "",
          snapshot: snapshots[slider.value]?.token,
          tag: tag.value,
          token: token.value.trim(),
          known: known.value && `${known.value.padEnd(19, ":00")}Z`,
        }[kind.value];
        if (kind.value !== "now" && !value) {
          panel.empty(`There is no ${kind.value === "known" ? "time" : kind.value} to read at.`);
          return null;
        }
        panel.loading();
        try {
          const answer = await api.ask(
            path,
            { ...parameters, ...pointParameters({ kind: kind.value, value }) },
            { signal },
          );
          proof.show(answer.meta);
          panel.ready();
          return answer;
        } catch (error) {
          if (!signal.aborted) panel.failed(error);
          return null;
        }
      },
    };
  }

  interval.disabled = asked.of !== "bars";
  for (const part of [result, ...sides.map(side => side.panel)]) part.loading();
  api
    .ask("/v1/snapshots", { stream: "trades", limit: 200 }, { signal: ending.signal })
    .then(
      ({ data }) => {
        for (const side of sides) side.setSnapshots(data.filter(one => one.token).reverse());
      },
      () => {},
    )
    .finally(() => {
      if (!ending.signal.aborted) run();
    });
  return {
    stop() {
      ending.abort();
      key.stop();
    },
  };
}

const tagsOf = snapshot => snapshot.refs.filter(name => name !== "main");
const shown = (value, column) =>
  column ? cell(value) : value ? `${value.price ?? value.close ?? ""}` : "";
