/** The past again, paced: rows of a symbol by the stream, from a time or a token on. */
import { barText, createPriceChart } from "../dom/chart.js";
import { button, h } from "../dom/elements.js";
import { createFacts } from "../dom/figures.js";
import { createPanel } from "../dom/panel.js";
import { createTablePanel, number, text } from "../dom/table.js";
import { NONE, count, dateTimeOfNs, timeOfText } from "../format.js";
import { createPlayer } from "../model/player.js";
import { aligned } from "../model/tape.js";
import { createSelection, instantOf, keyParameters } from "./selection.js";

const RELATION = "trades",
  WINDOW = "15m";
const CHOICES = [
  ["from", "From, UTC"],
  ["to", "To, UTC"],
  ["speed", "Speed", [["1", "1 x"], ["10", "10 x"], ["60", "60 x"], ["max", "as fast as it can"]]],
  ["clock", "Paced by", [["event", "when it was traded"], ["accepted", "when K2 knew it"]]],
  ["interval", "Bar", ["1s", "5s", "1m", "5m"]],
];
const NEXT = { playing: "Pause", paused: "Go on" };

export function replayView(place, context, given) {
  const { api, offer, signal } = context;
  const first = { key: "", speed: "10", interval: "1s", clock: "event", from: "", to: "" },
    asked = { ...first, ...given };
  const play = h("button.primary", { type: "submit" }, "Play"),
    back = button("button", "Back to the start", () => player.rewind(), { disabled: true });
  const { node, controls } = createSelection(context, asked, {
    choices: CHOICES,
    onChoice(change) {
      player.rewind();
      if (change.key !== undefined) suggest();
    },
    onSubmit: () => player.toggle(),
    more: [play, back],
  });
  const time = h("p.clock", { role: "timer", "aria-label": "Time of the replay" }, NONE),
    facts = createFacts(),
    bar = h("p.bar-text", { "aria-hidden": "true" }),
    canvas = h("div.chart", { role: "img", "aria-label": "Prices of the replay" });
  const prices = createPanel("Replay", [h("div.row", time, facts.node), bar, canvas]),
    tape = createTablePanel("Tape", TAPE_COLUMNS, {
      classes: ".tape",
      label: "Tape of the replay",
    });
  place.append(node, h("div.chart-and-tape", prices.node, tape.node));
  prices.ready(); // a chart takes its width where it is made: it has none out of sight
  const chart = createPriceChart(canvas, {
    signal,
    onHover: one => (bar.textContent = barText(one)),
  });
  const player = createPlayer({
    open: parameters => api.events(`/v1/${RELATION}/stream`, parameters),
    parameters: () => ({
      ...keyParameters(asked.key),
      from: instantOf(asked.from),
      to: instantOf(asked.to),
      speed: asked.speed,
      clock: asked.clock,
    }),
    interval: () => asked.interval,
    onChange: show,
  });
  signal.addEventListener("abort", player.close);

  /** The range of the newest trades, where none is chosen: a replay of what has just been seen. */
  async function suggest() {
    if (!asked.key || asked.from) return;
    const parameters = { ...keyParameters(asked.key), window: WINDOW, end: "last", limit: 1 };
    try {
      const { meta } = await api.ask(`/v1/${RELATION}`, parameters, { signal });
      for (const [name, ns] of [["from", meta.start_ns], ["to", meta.end_ns]])
        asked[name] = controls[name].value = dateTimeOfNs(ns).replace(" ", "T");
      context.remember(asked);
    } catch (error) {
      if (!signal.aborted) prices.failed(error);
    }
  }

  function show({ state, bars, isNewBars, changed, rows, digits, total, timeText, end, problem }) {
    play.textContent = NEXT[state] ?? "Play";
    back.disabled = state === "idle";
    if (isNewBars) chart.show(bars, digits);
    else chart.update(changed);
    bar.textContent = barText(bars.at(-1));
    time.textContent = timeText || NONE;
    const ended = end && ["End", `${count(end.rows)} rows, checksum ${end.checksum}`];
    facts.show([["Rows", count(total)], ...(end ? [ended] : [])]);
    tape.show(aligned(rows));
    if (problem) prices.failed(problem);
    else prices.ready();
  }

  offer.watch(found => {
    const isOffered = found.isStreamed(RELATION);
    play.disabled = !isOffered;
    if (isOffered || !found.has("/v1/status")) return player.rewind();
    const path = `/v1/${RELATION}/stream`;
    for (const panel of [prices, tape])
      panel.empty(`This node does not offer ${path}, by which the past is replayed.`);
  }, signal);
  suggest();
}

const TAPE_COLUMNS = [
  text("Time", row => timeOfText(row.exchange_time)),
  text("Accepted", row => timeOfText(row.accepted_time)),
  number("Price", row => ({ text: row.price, tone: row.side ?? "" })),
  number("Quantity", row => row.quantity),
];
