/** What a chart shades: stretches of time of which something is missing. */

import { msOfNs } from "../format.js";
import { numbersOf } from "./proof.js";

/** Neighbouring bars that are not complete, as one span each: first and last bar, both inclusive. */
export function incompleteSpans(bars) {
  const spans = [];
  let open = null;
  for (const bar of bars) {
    if (bar.complete) {
      open = null;
      continue;
    }
    if (!open) spans.push((open = { from: bar.time, to: bar.time }));
    open.to = bar.time;
  }
  return spans;
}

/** Numbers of gaps that did not arrive and may have been traded from `startS` to `endS`. */
export function missingIn(gaps, startS, endS) {
  const isBefore = (ns, second) => ns !== null && msOfNs(ns) / 1000 < second;
  return gaps
    .filter(
      gap =>
        !isBefore(gap.next_time_ns, startS) &&
        !(gap.previous_time_ns !== null && !isBefore(gap.previous_time_ns, endS)),
    )
    .reduce((sum, gap) => sum + numbersOf(gap), 0);
}

/** A time as a place among bars: the bar that holds it and the share of that bar before it.
 *  Null: it is outside of all bars. */
export function placeOf(bars, timeS, intervalS) {
  const index = Math.floor((timeS - (bars[0]?.time ?? 0)) / intervalS);
  if (!(index in bars)) return null;
  return { time: bars[index].time, share: (timeS - bars[index].time) / intervalS };
}
