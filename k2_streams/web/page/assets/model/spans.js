/** What a chart shades: stretches of time of which something is missing. */

import { msOfNs } from "../format.js";
import { numbersOf } from "./proof.js";

/** Neighbouring bars that are not complete, as one span each: first and last bar, both inclusive. */
export function incompleteSpans(bars) {
  const spans = [];
  let open = null;
  for (const { time, complete } of bars) {
    if (!complete && !open) spans.push((open = { from: time }));
    if (!complete) open.to = time;
    else open = null;
  }
  return spans;
}

/** Numbers of gaps that did not arrive and may have been traded from `startS` to `endS`. */
export function missingIn(gaps, startS, endS) {
  const secondOf = (ns, unknown) => (ns === null ? unknown : msOfNs(ns) / 1000);
  return gaps
    .filter(
      gap =>
        secondOf(gap.next_time_ns, Infinity) >= startS &&
        secondOf(gap.previous_time_ns, -Infinity) < endS,
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
