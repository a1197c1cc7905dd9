/** One symbol: bars over what is missing of them, the tape, the gaps, the proof. Live. */
import { follow } from "../api/follow.js";
import { createPriceChart, barText } from "../dom/chart.js";
import { createChoices, createForm, field, h } from "../dom/elements.js";
import { createPanel } from "../dom/panel.js";
import { poll } from "../dom/poll.js";
import { createProof } from "../dom/proof.js";
import { createTable, number, text, wide } from "../dom/table.js";
import { clock, count, dateTimeOfNs, isKnown, msOfNs, plural, timeOfText } from "../format.js";
import { MAX_BARS, barsOf, digitsOf, fold, intervalsFor, secondsOf } from "../model/bars.js";
import { LOOK_BACK_S, levelSpans } from "../model/levels.js";
import { numbersOf, rangeOf } from "../model/proof.js";
import { incompleteSpans, missingIn, placeOf } from "../model/spans.js";
import { MAX_TAPE, aligned, merged } from "../model/tape.js";
import { createKeyField, keyParameters } from "./key_field.js";

const WINDOWS = ["1m", "5m", "15m", "1h", "4h", "1d"],
  INTERVALS = ["1s", "5s", "15s", "1m", "5m", "15m", "1h"];
/** With a stream the trades of the chart are its; the bars are asked again for what trades cannot say. */
const BARS_EVERY_MS = { stream: 5_000, polling: 2_000 },
  BACKGROUND_EVERY_MS = 10_000;
const RELATION = "trades";
/** Spans that are listed below the chart; all are drawn. */
const MAX_SPANS = 8,
  MAX_LEVEL_CHANGES = 1_000;

export function symbolView(place, context, given) {
  const { api, signIn, offer, delivery } = context;
  const asked = { key: "", window: "15m", interval: "5s", view: "corrected", ...given };
  const choice = createChoices(asked, choose);
  const key = createKeyField(context, asked.key, () => choose({ key: key.value() }));
  const window = choice("window", WINDOWS);
  const interval = choice("interval", INTERVALS);
  const view = choice("view", [
    ["corrected", "as corrected"],
    ["reported", "as reported"],
  ]);
  const bar = h("p", { class: "bar-text", "aria-hidden": "true" }),
    about = h("p", { class: "hidden-text", id: "chart-about" });
  const canvas = h("div", {
    class: "chart",
    role: "img",
    "aria-label": "Prices over time",
    "aria-describedby": "chart-about",
  });
  const spans = h("ul", { class: "spans", "aria-label": "Incomplete spans and raised levels" });
  const tape = createTable({
    label: "Tape",
    columns: TAPE_COLUMNS,
    empty: "No trade in this window.",
  });
  const gaps = createTable({
    label: "Gaps",
    columns: GAP_COLUMNS,
    empty: "No gap is known in this window.",
  });
  const proof = createProof();
  const parts = {
    chart: createPanel({
      title: "Bars",
      content: [bar, canvas, about, spans],
      onSignIn: signIn,
      className: "wide-chart",
    }),
    tape: createPanel({ title: "Tape", content: [tape.node], onSignIn: signIn, className: "tape" }),
    gaps: createPanel({ title: "Gaps of the window", content: [gaps.node], onSignIn: signIn }),
    proof: createPanel({ title: "Proof of the bars", content: [proof.node], onSignIn: signIn }),
  };
  place.append(
    createForm(
      "controls",
      () => choose({ key: key.value() }),
      key.node,
      field("Window", window),
      field("Bar", interval),
      field("Trades", view),
    ),
    h("div", { class: "chart-and-tape" }, parts.chart.node, parts.tape.node),
    h("div", { class: "columns" }, parts.gaps.node, parts.proof.node),
  );
  const chart = createPriceChart(canvas, {
    onHover: one => {
      bar.textContent = barText(one ?? state.bars.at(-1));
    },
  });
  const nothing = () => ({
    bars: [],
    gaps: [],
    tape: [],
    levels: [],
    boundaryMs: null,
    snapshot: null,
    isFresh: true,
  });
  const state = nothing();
  let endings = [],
    askBackground = () => {};

  function choose(change) {
    Object.assign(asked, change);
    limitIntervals();
    context.remember("symbol", asked);
    start();
  }
  function limitIntervals() {
    const fitting = intervalsFor(INTERVALS, asked.window);
    for (const option of interval.options) option.disabled = !fitting.includes(option.value);
    if (!fitting.includes(asked.interval)) asked.interval = interval.value = fitting[0];
  }

  /** Ends what follows the last selection, and follows this one. */
  function start() {
    stop();
    Object.assign(state, nothing());
    if (!asked.key) {
      for (const part of Object.values(parts)) part.empty("Choose a symbol.");
      return;
    }
    for (const part of Object.values(parts)) part.loading();
    const bars = poll(askBars, () => BARS_EVERY_MS[delivery.get() ?? "polling"]),
      background = poll(
        signal => Promise.all([askBoundary(signal), askLevels(signal)]),
        () => BACKGROUND_EVERY_MS,
      );
    askBackground = background.now;
    endings = [
      bars.end,
      background.end,
      follow({
        api,
        offer,
        relation: RELATION,
        parameters: keyParameters(asked.key),
        newest: { window: asked.window, end: "last", order: "desc", limit: MAX_TAPE },
        onRows: takeRows,
        onGap: bars.now,
        onFailure: parts.tape.failed,
        onDelivery: delivery.set,
      }),
    ];
  }
  function stop() {
    for (const end of endings) end();
    endings = [];
  }

  async function askBars(signal) {
    try {
      const { data, meta } = await api.ask(
        "/v1/bars",
        {
          ...keyParameters(asked.key),
          interval: asked.interval,
          window: asked.window,
          view: asked.view,
          end: "last",
          fill: "null",
          limit: MAX_BARS,
        },
        { signal },
      );
      state.bars = barsOf(data);
      chart.show(state.bars, digitsOf(data.map(row => row.close)));
      if (state.isFresh) {
        chart.fit(state.bars.length);
        state.isFresh = false;
        askBackground();
      }
      state.gaps = meta.gaps;
      drawMarks();
      gaps.show(meta.gaps);
      proof.show(meta);
      parts.chart.heading.textContent = `Bars of ${asked.key}, ${asked.interval} over ${asked.window}`;
      if (data.length) parts.chart.ready();
      else parts.chart.empty("No trade in this window.");
      parts.gaps.ready();
      parts.proof.ready();
    } catch (error) {
      if (!signal.aborted)
        for (const part of [parts.chart, parts.gaps, parts.proof]) part.failed(error);
    }
  }

  /** The newest trade of the symbol that the lake holds: behind it the tail begins. */
  async function askBoundary(signal) {
    try {
      const [snapshot] = (
        await api.ask("/v1/snapshots", { stream: RELATION, limit: 1 }, { signal })
      ).data;
      if (!snapshot?.token || snapshot.id === state.snapshot) return;
      const { data } = await api.ask(
        `/v1/${RELATION}`,
        {
          ...keyParameters(asked.key),
          as_of: snapshot.token,
          window: "1d",
          end: "last",
          order: "desc",
          limit: 1,
        },
        { signal },
      );
      state.snapshot = snapshot.id;
      state.boundaryMs = data.length ? msOfNs(data[0].exchange_time_ns) : null;
      drawMarks();
    } catch {
      /* a symbol that the lake does not know yet, or a lake that is away: no line is drawn */
    }
  }

  async function askLevels(signal) {
    if (!offer.get().has("/v1/levels") || !state.bars.length) return;
    try {
      const { data } = await api.ask(
        "/v1/levels",
        {
          start: `${state.bars[0].time - LOOK_BACK_S}000000000`,
          order: "desc",
          limit: MAX_LEVEL_CHANGES,
        },
        { signal },
      );
      state.levels = data.reverse();
      drawMarks();
    } catch {
      /* the band says nothing where the changes cannot be read: the status has the present level */
    }
  }

  /** `isWhole`: the rows are the newest ones, the newest first; else they follow what came before. */
  function takeRows(rows, isWhole) {
    state.tape = isWhole ? rows : merged(state.tape, rows);
    tape.show(aligned(state.tape));
    if (state.tape.length) parts.tape.ready();
    else parts.tape.empty("No trade in this window.");
    if (isWhole || !state.bars.length) return;
    const changed = new Set();
    for (const row of rows.filter(one => !one.action))
      for (const one of fold(state.bars, row, secondsOf(asked.interval)) ?? []) changed.add(one);
    chart.update([...changed]);
    drawMarks();
  }

  function drawMarks() {
    const found = incompleteSpans(state.bars),
      seconds = secondsOf(asked.interval);
    const boundary =
      state.boundaryMs === null ? null : placeOf(state.bars, state.boundaryMs / 1000, seconds);
    const raised = levelSpans(state.bars, state.levels, seconds);
    chart.mark({ spans: found, levels: raised, boundary });
    const item = ({ from, to, tone = "warn" }, text) =>
      h(
        "li",
        { "data-tone": tone },
        `${clock(from * 1000)} to ${clock((to + seconds) * 1000)}: ${text}`,
      );
    spans.replaceChildren(
      ...found
        .slice(-MAX_SPANS)
        .map(one => item(one, lack(missingIn(state.gaps, one.from, one.to + seconds)))),
      ...raised.slice(-MAX_SPANS).map(one => item(one, `level ${one.level}`)),
    );
    bar.textContent = barText(state.bars.at(-1));
    about.textContent =
      `${plural(state.bars.length, "bar")} of ${asked.interval}. The last one: ${barText(state.bars.at(-1))}. ` +
      `${plural(found.length, "incomplete span")}. ` +
      (boundary ? `The lake ends at ${clock(state.boundaryMs)}.` : "");
  }

  limitIntervals();
  start();
  return {
    stop() {
      stop();
      key.stop();
      chart.remove();
    },
  };
}

const lack = missing => (missing ? `${count(missing)} missing` : "not known to be complete");
const side = row => ({ text: row.side ?? "", tone: row.side ?? "" });
const flags = row =>
  [row.late ? "late" : "", row.action ?? "", ...(row.conditions ?? [])].filter(Boolean).join(" ");
const TAPE_COLUMNS = [
  text("Time", row => ({ text: timeOfText(row.exchange_time), title: row.exchange_time })),
  number("Price", row => ({ text: row.price, tone: row.side ?? "" })),
  number("Quantity", row => row.quantity),
  text("Side", side),
  text("Marks", flags),
  number("Sequence", row => row.sequence),
];
const timeOfNs = ns =>
  isKnown(ns) ? { text: clock(msOfNs(ns), 3), title: dateTimeOfNs(ns) } : NONE;
const GAP_TONES = { open: "bad", abandoned: "warn", filled: "good" };
const GAP_COLUMNS = [
  text("State", gap => ({ text: gap.state, tone: GAP_TONES[gap.state] })),
  number("Numbers", gap => rangeOf(gap.first, gap.last)),
  number("Missing", gap => count(numbersOf(gap))),
  text("After", gap => timeOfNs(gap.previous_time_ns)),
  text("Before", gap => timeOfNs(gap.next_time_ns)),
  text("Session", gap => gap.session),
  wide("Reason", gap => (isKnown(gap.reason) ? gap.reason : "")),
];
