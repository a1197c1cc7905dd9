/** When a worker's degradation level was raised, as a chart draws it. */
import { msOfNs } from "../format.js";
import { LEVELS, toneOfLevel } from "./health.js";

/** Changes are asked for so long before the first bar: an episode of load is shorter. */
export const LOOK_BACK_S = 86_400;

/** Bars in which the level of some worker was raised, neighbours of one level as one span:
 *  `{ from, to, level, tone }`, bar starts, both inclusive. `changes` are rows of `/v1/levels`, by time. */
export function levelSpans(bars, changes, intervalS) {
  const levels = new Map(),
    spans = [];
  for (const { worker, previous } of changes)
    if (!levels.has(worker)) levels.set(worker, LEVELS.indexOf(previous));
  const highest = () => Math.max(0, ...levels.values());
  let next = 0;
  /** Takes the changes before a time; the highest level on the way. */
  function pass(endS) {
    let most = highest();
    for (; next < changes.length && msOfNs(changes[next].time_ns) / 1000 < endS; next += 1) {
      levels.set(changes[next].worker, LEVELS.indexOf(changes[next].level));
      most = Math.max(most, highest());
    }
    return most;
  }
  for (const { time } of bars) {
    pass(time);
    const level = LEVELS[pass(time + intervalS)],
      last = spans.at(-1);
    if (level === LEVELS[0]) continue;
    if (last?.level === level && last.to === time - intervalS) last.to = time;
    else spans.push({ from: time, to: time, level, tone: toneOfLevel(level) });
  }
  return spans;
}
