/** The proof of an answer: the verdict first, what it rests on below. */
import { chip, copyButton, h } from "./elements.js";
import { createFacts } from "./figures.js";
import { count, dateTimeOfNs, isKnown, milliseconds, NONE, plural } from "../format.js";
import { reasonsOf } from "../model/proof.js";
import { toneOfLevel } from "../model/health.js";

/** `show(meta)` shows the proof of rows or bars. */
export function createProof() {
  const verdict = h("p", { class: "verdict" }),
    reasons = h("ul", { class: "reasons" });
  const facts = createFacts(),
    token = h("code", { class: "token" });
  let text = "";
  return {
    node: h(
      "div",
      { class: "proof" },
      verdict,
      reasons,
      facts.node,
      h(
        "div",
        { class: "token-line" },
        h("span", { class: "note" }, "Token"),
        token,
        copyButton(() => text, "token"),
      ),
    ),
    show(meta) {
      verdict.replaceChildren(
        meta.complete ? chip("good", "Complete") : chip("warn", "Not known to be complete"),
        meta.settled
          ? chip("good", "Settled", "No gap of the range is expected to become known any more.")
          : "",
      );
      reasons.replaceChildren(
        ...(meta.complete ? [] : reasonsOf(meta)).map(reason => h("li", {}, reason)),
      );
      facts.show(factsOf(meta));
      text = meta.token ?? "";
      token.textContent = text || NONE;
    },
  };
}

function factsOf(meta) {
  const of =
    meta.bars === undefined
      ? [
          "Rows",
          `${count(meta.rows)}: ${count(meta.rows_lake)} of the lake, ${count(meta.rows_tail)} of the tail`,
        ]
      : ["Bars", count(meta.bars)];
  const stages = Object.entries(meta.stages_ms ?? {}).map(
    ([name, ms]) => `${name} ${milliseconds(ms)}`,
  );
  return [
    of,
    ["Snapshot", meta.snapshot ?? "none"],
    ...(isKnown(meta.known_at_ns) ? [["Known at", dateTimeOfNs(meta.known_at_ns)]] : []),
    [
      "Range",
      isKnown(meta.start_ns)
        ? `${dateTimeOfNs(meta.start_ns)} to ${dateTimeOfNs(meta.end_ns)}`
        : "all",
    ],
    [
      "Read up to",
      Object.entries(meta.offsets)
        .map(([partition, offset]) => `${partition}:${offset}`)
        .join("  "),
    ],
    ["Lag", plural(meta.lag_records, "record")],
    ["Level", meta.level, toneOfLevel(meta.level)],
    ...(meta.dead_letters === undefined ? [] : [["Dead letters, ever", count(meta.dead_letters)]]),
    [
      "Answered in",
      [milliseconds(meta.elapsed_ms), ...(stages.length ? [`(${stages.join(", ")})`] : [])].join(
        " ",
      ),
    ],
  ];
}
