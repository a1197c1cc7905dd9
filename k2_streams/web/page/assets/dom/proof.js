/** The proof of an answer: the verdict first, what it rests on below. */
import { NONE, count, dateTimeOfNs, isKnown, milliseconds, plural } from "../format.js";
import { toneOfLevel } from "../model/health.js";
import { reasonsOf } from "../model/proof.js";
import { chip, copyButton, h } from "./elements.js";
import { createFacts } from "./figures.js";
import { createPanel } from "./panel.js";

/** A panel: `show(meta)` shows the proof of an answer, with the facts that `factsOf` takes from it;
 *  `above` stands over the proof. */
export function createProofPanel(title, { factsOf = factsOfRows, above = [] } = {}) {
  const verdict = h("p.verdict"),
    reasons = h("ul.reasons"),
    facts = createFacts(),
    token = h("code.token");
  const copy = copyButton(() => token.textContent, "token");
  const tokenLine = h("div.token-line", h("span.note", "Token"), token, copy);
  const panel = createPanel(title, [verdict, reasons, facts.node, tokenLine], {
    classes: ".proof",
  });
  panel.heading.parentElement.after(...above);
  return {
    ...panel,
    show(meta) {
      verdict.replaceChildren(
        meta.complete ? chip("good", "Complete") : chip("warn", "Not known to be complete"),
        meta.settled
          ? chip("good", "Settled", "No gap of the range is expected to become known any more.")
          : "",
      );
      const why = meta.complete ? [] : reasonsOf(meta);
      reasons.replaceChildren(...why.map(reason => h("li", reason)));
      facts.show(factsOf(meta));
      token.textContent = meta.token ?? NONE;
      panel.ready();
    },
  };
}

/** When an answer is as of, if it was asked so. */
export const knownAt = meta =>
  isKnown(meta.known_at_ns) ? [["Known at", dateTimeOfNs(meta.known_at_ns)]] : [];

function factsOfRows(meta) {
  const [rows, ofLake, ofTail] = [meta.rows, meta.rows_lake, meta.rows_tail].map(count);
  const range = `${dateTimeOfNs(meta.start_ns)} to ${dateTimeOfNs(meta.end_ns)}`;
  const offsets = Object.entries(meta.offsets).map(pair => pair.join(":"));
  const stages = Object.entries(meta.stages_ms ?? {})
    .map(([name, ms]) => `${name} ${milliseconds(ms)}`)
    .join(", ");
  return [
    meta.bars === undefined
      ? ["Rows", `${rows}: ${ofLake} of the lake, ${ofTail} of the tail`]
      : ["Bars", count(meta.bars)],
    ["Snapshot", meta.snapshot ?? "none"],
    ...knownAt(meta),
    ["Range", isKnown(meta.start_ns) ? range : "all"],
    ["Read up to", offsets.join("  ")],
    ["Lag", plural(meta.lag_records, "record")],
    ["Level", meta.level, toneOfLevel(meta.level)],
    ...(meta.dead_letters === undefined ? [] : [["Dead letters, ever", count(meta.dead_letters)]]),
    ["Answered in", milliseconds(meta.elapsed_ms) + (stages && ` (${stages})`)],
  ];
}
