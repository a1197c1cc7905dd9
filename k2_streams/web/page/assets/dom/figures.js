/** Key figures, and the line of the last minutes beside one. */
import { h, svg } from "./elements.js";

const WIDTH = 120,
  HEIGHT = 28;

/** Points of a line through values, the newest at the right; what is not known is left out. */
export function pointsOf(values, width = WIDTH, height = HEIGHT) {
  const known = values.filter(value => value !== null && Number.isFinite(value));
  if (known.length < 2) return "";
  const low = Math.min(...known, 0),
    high = Math.max(...known);
  const y = value =>
    high > low ? height - 2 - ((height - 4) * (value - low)) / (high - low) : height / 2;
  return values
    .map((value, at) =>
      value === null
        ? null
        : `${((width * at) / (values.length - 1)).toFixed(1)},${y(value).toFixed(1)}`,
    )
    .filter(Boolean)
    .join(" ");
}

/** A list of figures: `show([{ label, value, note, tone, line }])`. The labels stay the same. */
export function createFigures() {
  const node = h("dl", { class: "figures" }),
    known = new Map();
  const make = label => {
    const value = h("dd", { class: "value" }),
      note = h("dd", { class: "note" });
    const line = svg("polyline", { points: "" });
    const drawing = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      line,
    );
    node.append(
      h(
        "div",
        { class: "figure" },
        h("dt", {}, label),
        value,
        note,
        h("dd", { class: "line", "aria-hidden": "true" }, drawing),
      ),
    );
    return { value, note, line, drawing };
  };
  return {
    node,
    show(figures) {
      for (const { label, value, note = "", tone = "", line = null } of figures) {
        if (!known.has(label)) known.set(label, make(label));
        const parts = known.get(label);
        parts.value.textContent = value;
        parts.value.dataset.tone = tone;
        parts.note.textContent = note;
        const points = line ? pointsOf(line) : "";
        parts.drawing.parentElement.hidden = points === "";
        parts.line.setAttribute("points", points);
      }
    },
  };
}

/** Names with values: `show([[name, value, tone]])`. */
export function createFacts() {
  const node = h("dl", { class: "facts" });
  return {
    node,
    show(facts) {
      node.replaceChildren(
        ...facts.flatMap(([name, value, tone]) => [
          h("dt", {}, name),
          h("dd", { "data-tone": tone }, value),
        ]),
      );
    },
  };
}
