/** The past again, paced: rows of a symbol by the stream, from a time or a token on. */
import { createPriceChart, barText } from "../dom/chart.js";
import { createChoices, createForm, field, h } from "../dom/elements.js";
import { createFacts } from "../dom/figures.js";
import { createPanel } from "../dom/panel.js";
import { createTable, number, text } from "../dom/table.js";
import { count, dateTimeOfNs, NONE, timeOfText } from "../format.js";
import { createPlayer } from "../model/player.js";
import { aligned } from "../model/tape.js";
import { createKeyField, keyParameters } from "./key_field.js";

const RELATION = "trades",
  SPEEDS = [
    ["1", "1 x"],
    ["10", "10 x"],
    ["60", "60 x"],
    ["max", "as fast as it can"],
  ];
const INTERVALS = ["1s", "5s", "1m", "5m"],
  WINDOW = "15m";

export function replayView(place, context, given) {
  const { api, offer, signIn } = context;
  const asked = {
    key: "",
    speed: "10",
    interval: "1s",
    clock: "event",
    from: "",
    to: "",
    ...given,
  };
  const choice = createChoices(asked, choose);
  const key = createKeyField(context, asked.key, () => choose({ key: key.value() }));
  const from = timeField("from"),
    to = timeField("to");
  const speed = choice("speed", SPEEDS);
  const clock = choice("clock", [
    ["event", "when it was traded"],
    ["accepted", "when K2 knew it"],
  ]);
  const interval = choice("interval", INTERVALS);
  const play = h("button", { type: "submit", class: "primary" }, "Play"),
    stop = h(
      "button",
      { type: "button", disabled: true, on: { click: () => player.rewind() } },
      "Back to the start",
    );
  const time = h("p", { class: "clock", role: "timer", "aria-label": "Time of the replay" }, NONE),
    facts = createFacts();
  const bar = h("p", { class: "bar-text", "aria-hidden": "true" });
  const canvas = h("div", { class: "chart", role: "img", "aria-label": "Prices of the replay" });
  const tape = createTable({
    label: "Tape of the replay",
    columns: [
      text("Time", row => timeOfText(row.exchange_time)),
      text("Accepted", row => timeOfText(row.accepted_time)),
      number("Price", row => ({ text: row.price, tone: row.side ?? "" })),
      number("Quantity", row => row.quantity),
    ],
  });
  const parts = {
    chart: createPanel({
      title: "Replay",
      content: [h("div", { class: "row" }, time, facts.node), bar, canvas],
      onSignIn: signIn,
      className: "wide-chart",
    }),
    tape: createPanel({ title: "Tape", content: [tape.node], onSignIn: signIn, className: "tape" }),
  };
  const form = createForm(
    "controls",
    () => player.toggle(),
    key.node,
    field("From, UTC", from),
    field("To, UTC", to),
    field("Speed", speed),
    field("Paced by", clock),
    field("Bar", interval),
    play,
    stop,
  );
  place.append(form, h("div", { class: "chart-and-tape" }, parts.chart.node, parts.tape.node));
  const chart = createPriceChart(canvas, {
    onHover: one => {
      bar.textContent = barText(one);
    },
  });
  const player = createPlayer({
    open: parameters => api.events(`/v1/${RELATION}/stream`, parameters),
    parameters: () => ({
      ...keyParameters(asked.key),
      from: instant(asked.from),
      to: instant(asked.to),
      speed: asked.speed,
      clock: asked.clock,
    }),
    interval: () => asked.interval,
    onChange: show,
  });
  const ending = new AbortController();

  function timeField(name) {
    const input = h("input", {
      type: "datetime-local",
      step: 1,
      value: asked[name],
      on: { change: () => choose({ [name]: input.value }) },
    });
    return input;
  }
  const instant = text => (text ? `${text.padEnd(19, ":00")}Z` : "");
  function choose(change) {
    Object.assign(asked, change);
    context.remember("replay", asked);
    player.rewind();
    if (change.key !== undefined) suggest();
  }

  /** The range of the newest trades, where none is chosen: a replay of what has just been seen. */
  async function suggest() {
    if (!asked.key || asked.from) return;
    try {
      const { meta } = await api.ask(
        `/v1/${RELATION}`,
        { ...keyParameters(asked.key), window: WINDOW, end: "last", limit: 1 },
        { signal: ending.signal },
      );
      const text = ns => dateTimeOfNs(ns).replace(" ", "T");
      Object.assign(asked, { from: text(meta.start_ns), to: text(meta.end_ns) });
      [from.value, to.value] = [asked.from, asked.to];
      context.remember("replay", asked);
    } catch (error) {
      if (!ending.signal.aborted) parts.chart.failed(error);
    }
  }

  function show({ state, bars, isNewBars, changed, rows, digits, total, timeText, end, problem }) {
    play.textContent = state === "playing" ? "Pause" : state === "paused" ? "Go on" : "Play";
    stop.disabled = state === "idle";
    if (isNewBars) chart.show(bars, digits);
    else if (changed.length) chart.update(changed);
    bar.textContent = barText(bars.at(-1));
    time.textContent = timeText || NONE;
    facts.show([
      ["Rows", count(total)],
      ...(end ? [["End", `${count(end.rows)} rows, checksum ${end.checksum}`]] : []),
    ]);
    tape.show(aligned(rows));
    if (problem) parts.chart.failed(problem);
    else parts.chart.ready();
    parts.tape.ready();
  }

  const unwatch = offer.watch(found => {
    const isOffered = found.isStreamed(RELATION);
    play.disabled = !isOffered;
    if (isOffered || !found.has("/v1/status")) {
      show(player.look());
      return;
    }
    for (const part of Object.values(parts))
      part.empty(`This node does not offer /v1/${RELATION}/stream, by which the past is replayed.`);
  });
  suggest();
  return {
    stop() {
      ending.abort();
      unwatch();
      player.close();
      key.stop();
      chart.remove();
    },
  };
}
