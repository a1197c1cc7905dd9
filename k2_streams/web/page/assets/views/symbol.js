/** One symbol: bars over what is missing of them, the tape, the gaps, the proof. Live. */
import { follow } from "../api/follow.js";
import { barText, createPriceChart } from "../dom/chart.js";
import { h } from "../dom/elements.js";
import { createPanel } from "../dom/panel.js";
import { poll } from "../dom/poll.js";
import { createProofPanel } from "../dom/proof.js";
import { createTablePanel, number, text, wide } from "../dom/table.js";
import {
  NONE, clock, clockMs, count, dateTimeOfNs, isKnown, msOfNs, plural, timeOfText,
} from "../format.js";
import { MAX_BARS, barsOf, digitsOf, fold, intervalsFor, secondsOf } from "../model/bars.js";
import { LOOK_BACK_S, levelSpans } from "../model/levels.js";
import { numbersOf, rangeOf } from "../model/proof.js";
import { incompleteSpans, missingIn, placeOf } from "../model/spans.js";
import { MAX_TAPE, aligned, merged } from "../model/tape.js";
import { createSelection, keyParameters } from "./selection.js";

const INTERVALS = ["1s", "5s", "15s", "1m", "5m", "15m", "1h"];
const CHOICES = [
  ["window", "Window", ["1m", "5m", "15m", "1h", "4h", "1d"]],
  ["interval", "Bar", INTERVALS],
  ["view", "Trades", [["corrected", "as corrected"], ["reported", "as reported"]]],
];
/** With a stream the trades of the chart are its; the bars are asked again for what trades cannot say. */
const BARS_EVERY_MS = { stream: 5_000, polling: 2_000 },
  BACKGROUND_EVERY_MS = 10_000;
const RELATION = "trades";
/** The mark by which a browser says how long the first chart has taken. */
const FIRST_CHART = "chart";
/** Spans that are listed below the chart; all are drawn. */
const MAX_SPANS = 8,
  MAX_LEVEL_CHANGES = 1_000;
const NOTHING = { bars: [], gaps: [], tape: [], levels: [], boundaryMs: null, snapshot: null };

export function symbolView(place, context, given) {
  const { api, offer, delivery } = context;
  const asked = { key: "", window: "15m", interval: "5s", view: "corrected", ...given };
  const onChoice = () => {
    limitIntervals();
    start();
  };
  const { node, controls } = createSelection(context, asked, { choices: CHOICES, onChoice });
  const bar = h("p.bar-text", { "aria-hidden": "true" }),
    about = h("p.hidden-text", { id: "chart-about" }),
    spans = h("ul.spans", { "aria-label": "Incomplete spans and raised levels" });
  const canvas = h("div.chart", {
    role: "img",
    "aria-label": "Prices over time",
    "aria-describedby": about.id,
  });
  const bars = createPanel("Bars", [bar, canvas, about, spans]),
    tape = createTablePanel("Tape", TAPE_COLUMNS, {
      empty: "No trade in this window.",
      classes: ".tape",
    }),
    gaps = createTablePanel("Gaps of the window", GAP_COLUMNS, {
      empty: "No gap is known in this window.",
      label: "Gaps",
    }),
    proof = createProofPanel("Proof of the bars");
  place.append(
    node,
    h("div.chart-and-tape", bars.node, tape.node),
    h("div.columns", gaps.node, proof.node),
  );
  bars.ready(); // a chart takes its width where it is made: it has none out of sight
  const chart = createPriceChart(canvas, {
    signal: context.signal,
    onHover: one => (bar.textContent = barText(one ?? state.bars.at(-1))),
  });
  let state = NOTHING,
    background = [],
    selection = new AbortController();

  function limitIntervals() {
    const fitting = intervalsFor(INTERVALS, asked.window);
    for (const option of controls.interval.options)
      option.disabled = !fitting.includes(option.value);
    if (!fitting.includes(asked.interval)) asked.interval = controls.interval.value = fitting[0];
  }

  /** Ends what follows the last selection, and follows this one. */
  function start() {
    selection.abort();
    selection = new AbortController();
    state = { ...NOTHING };
    for (const panel of [bars, tape, gaps, proof])
      if (asked.key) panel.loading();
      else panel.empty("Choose a symbol.");
    if (!asked.key) return;
    const signal = AbortSignal.any([context.signal, selection.signal]);
    const again = (work, everyMs, onFailure) => poll(work, () => everyMs, { signal, onFailure });
    // A symbol that the lake does not know yet, a lake that is away: nothing is drawn of it.
    const onFailure = () => {};
    background = [askBoundary, askLevels].map(work =>
      poll(work, () => BACKGROUND_EVERY_MS, { signal, onFailure }),
    );
    const askBarsNow = poll(askBars, () => BARS_EVERY_MS[delivery.get() ?? "polling"], {
      signal,
      onFailure: error => [bars, gaps, proof].forEach(panel => panel.failed(error)),
    });
    follow({
      api, offer, signal,
      relation: RELATION,
      parameters: keyParameters(asked.key),
      newest: { window: asked.window, end: "last", order: "desc", limit: MAX_TAPE },
      onRows: takeRows,
      onGap: askBarsNow,
      onFailure: tape.failed,
      onDelivery: delivery.set,
    });
  }

  async function askBars(signal) {
    const { key, ...choices } = asked;
    const more = { end: "last", fill: "null", limit: MAX_BARS };
    const parameters = { ...keyParameters(key), ...choices, ...more };
    const { data, meta } = await api.ask("/v1/bars", parameters, { signal });
    const isFirst = !state.bars.length;
    state.bars = barsOf(data);
    state.gaps = meta.gaps;
    chart.show(state.bars, digitsOf(data.map(row => row.close)));
    if (isFirst) {
      if (state.bars.length && !performance.getEntriesByName(FIRST_CHART).length)
        performance.mark(FIRST_CHART);
      chart.fit(state.bars.length);
      for (const ask of background) ask();
    }
    drawMarks();
    gaps.show(meta.gaps);
    proof.show(meta);
    bars.heading.textContent = `Bars of ${key}, ${asked.interval} over ${asked.window}`;
    if (data.length) bars.ready();
    else bars.empty("No trade in this window.");
  }

  /** The newest trade of the symbol that the lake holds: behind it the tail begins. */
  async function askBoundary(signal) {
    const ofLake = { stream: RELATION, limit: 1 };
    const [snapshot] = (await api.ask("/v1/snapshots", ofLake, { signal })).data;
    if (!snapshot?.token || snapshot.id === state.snapshot) return;
    const newest = { as_of: snapshot.token, window: "1d", end: "last", order: "desc", limit: 1 };
    const parameters = { ...keyParameters(asked.key), ...newest };
    const { data } = await api.ask(`/v1/${RELATION}`, parameters, { signal });
    state.snapshot = snapshot.id;
    state.boundaryMs = data.length ? msOfNs(data[0].exchange_time_ns) : null;
    drawMarks();
  }

  async function askLevels(signal) {
    if (!offer.get().has("/v1/levels") || !state.bars.length) return;
    const start = `${state.bars[0].time - LOOK_BACK_S}000000000`;
    const parameters = { start, order: "desc", limit: MAX_LEVEL_CHANGES };
    const { data } = await api.ask("/v1/levels", parameters, { signal });
    state.levels = data.reverse();
    drawMarks();
  }

  /** `isWhole`: the rows are the newest ones, the newest first; else they follow what came before. */
  function takeRows(rows, isWhole) {
    state.tape = isWhole ? rows : merged(state.tape, rows);
    tape.show(aligned(state.tape));
    if (isWhole || !state.bars.length) return;
    const changed = new Set();
    for (const row of rows.filter(one => !one.action))
      for (const one of fold(state.bars, row, secondsOf(asked.interval)) ?? []) changed.add(one);
    chart.update([...changed]);
    drawMarks();
  }

  function drawMarks() {
    const seconds = secondsOf(asked.interval),
      missing = incompleteSpans(state.bars),
      levels = levelSpans(state.bars, state.levels, seconds),
      last = barText(state.bars.at(-1));
    const boundary =
      state.boundaryMs === null ? null : placeOf(state.bars, state.boundaryMs / 1000, seconds);
    chart.mark({ spans: missing, levels, boundary });
    function item({ from, to, tone = "warn" }, what) {
      const [start, end] = [from, to + seconds].map(time => clock(time * 1000));
      return h("li", { "data-tone": tone }, `${start} to ${end}: ${what}`);
    }
    const lack = ({ from, to }) => {
      const numbers = missingIn(state.gaps, from, to + seconds);
      return numbers ? `${count(numbers)} missing` : "not known to be complete";
    };
    spans.replaceChildren(
      ...missing.slice(-MAX_SPANS).map(one => item(one, lack(one))),
      ...levels.slice(-MAX_SPANS).map(one => item(one, `level ${one.level}`)),
    );
    bar.textContent = last;
    about.textContent = [
      `${plural(state.bars.length, "bar")} of ${asked.interval}.`,
      `The last one: ${last}.`,
      `${plural(missing.length, "incomplete span")}.`,
      boundary ? `The lake ends at ${clock(state.boundaryMs)}.` : "",
    ].join(" ");
  }

  limitIntervals();
  start();
}

const TAPE_COLUMNS = [
  text("Time", row => ({ text: timeOfText(row.exchange_time), title: row.exchange_time })),
  number("Price", row => ({ text: row.price, tone: row.side ?? "" })),
  number("Quantity", row => row.quantity),
  text("Side", row => ({ text: row.side ?? "", tone: row.side ?? "" })),
  text("Marks", ({ late, action, conditions }) =>
    [late && "late", action, ...(conditions ?? [])].filter(Boolean).join(" "),
  ),
  number("Sequence", row => row.sequence),
];
const timeOfNs = ns =>
  isKnown(ns) ? { text: clockMs(msOfNs(ns)), title: dateTimeOfNs(ns) } : NONE;
const GAP_TONES = { open: "bad", abandoned: "warn", filled: "good" };
const GAP_COLUMNS = [
  text("State", gap => ({ text: gap.state, tone: GAP_TONES[gap.state] })),
  number("Numbers", gap => rangeOf(gap.first, gap.last)),
  number("Missing", gap => count(numbersOf(gap))),
  text("After", gap => timeOfNs(gap.previous_time_ns)),
  text("Before", gap => timeOfNs(gap.next_time_ns)),
  text("Session", "session"),
  wide("Reason", gap => gap.reason ?? ""),
];
