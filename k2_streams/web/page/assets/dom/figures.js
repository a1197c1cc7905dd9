/** Key figures, and the line of the last minutes beside one; and facts: names with values. */
import { h } from "./elements.js";

const WIDTH = 120,
  HEIGHT = 28,
  EDGE = 2;

/** Points of a line through values, the newest at the right; what is not known is left out. */
function pointsOf(values) {
  const known = values.filter(Number.isFinite);
  if (known.length < 2) return "";
  const low = Math.min(...known, 0),
    high = Math.max(...known);
  const share = value => (high > low ? (value - low) / (high - low) : 0.5);
  const y = value => HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * share(value);
  const x = at => (WIDTH * at) / (values.length - 1);
  return values
    .map((value, at) => Number.isFinite(value) && `${x(at).toFixed(1)},${y(value).toFixed(1)}`)
    .filter(Boolean)
    .join(" ");
}

function createFigure(label) {
  const value = h("dd.value"),
    note = h("dd.note"),
    line = h("polyline");
  const view = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" };
  const drawing = h("dd.line", { "aria-hidden": "true" }, h("svg", view, line));
  return {
    node: h("div.figure", h("dt", label), value, note, drawing),
    show(figure) {
      value.textContent = figure.value;
      value.dataset.tone = figure.tone ?? "";
      note.textContent = figure.note;
      const points = pointsOf(figure.line ?? []);
      drawing.hidden = points === "";
      line.setAttribute("points", points);
    },
  };
}

/** A list of figures: `show([{ label, value, note, tone, line }])`. The labels stay the same. */
export function createFigures() {
  const node = h("dl.figures"),
    known = new Map();
  return {
    node,
    show(figures) {
      for (const figure of figures) {
        if (!known.has(figure.label)) {
          known.set(figure.label, createFigure(figure.label));
          node.append(known.get(figure.label).node);
        }
        known.get(figure.label).show(figure);
      }
    },
  };
}

/** Names with values: `show([[name, value, tone]])`. */
export function createFacts() {
  const node = h("dl.facts");
  const fact = ([name, value, tone]) => [h("dt", name), h("dd", { "data-tone": tone }, value)];
  return { node, show: facts => node.replaceChildren(...facts.flatMap(fact)) };
}
