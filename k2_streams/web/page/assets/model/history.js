/** The last scrapes, and what they say of the last minute. */
import { growth, largest, quantile, total } from "./metrics.js";

/** Of a line beside a figure: at one scrape in five seconds, ten minutes. */
const MAX_POINTS = 120;
const WINDOW_S = 60;

/** A counter's growth per second between two scrapes. */
function perSecond(before, after, name, labels) {
  const grown = growth(before.samples, after.samples, name, labels),
    seconds = after.timeS - before.timeS;
  return grown === null || seconds <= 0 ? null : grown / seconds;
}
/** The point of each line that a scrape adds, given the one before it. */
const LINES = {
  records: (before, after) => perSecond(before, after, "k2_source_records_total"),
  rows: (before, after) => perSecond(before, after, "k2_accepted_rows_total"),
  lag: (_before, { samples }) => total(samples, "k2_lag_records"),
  memory: (_before, { samples }) => largest(samples, "k2_memory_used_ratio"),
};

/** Of the scrapes no more is kept than the last minute needs, and the points of the lines. */
export function createHistory(maxPoints = MAX_POINTS) {
  const scrapes = [],
    lines = Object.fromEntries(Object.keys(LINES).map(name => [name, []]));
  /** What the first and the last scrape of the minute say together; null: there is one only. */
  const between = read => (scrapes.length < 2 ? null : read(scrapes[0], scrapes.at(-1)));
  return {
    lines,
    add(timeS, samples) {
      const newest = { timeS, samples },
        before = scrapes.at(-1);
      scrapes.push(newest);
      // The first is the newest one that is a minute old, if any is.
      while (scrapes.length > 1 && timeS - scrapes[1].timeS >= WINDOW_S) scrapes.shift();
      if (!before) return;
      for (const [name, pointOf] of Object.entries(LINES)) {
        lines[name].push(pointOf(before, newest));
        lines[name].splice(0, lines[name].length - maxPoints);
      }
    },
    get newest() {
      return scrapes.at(-1)?.samples ?? null;
    },
    /** A counter's growth per second over the last minute, or over what is known. */
    rate: (name, labels) => between((first, last) => perSecond(first, last, name, labels)),
    quantile: (name, q, labels) =>
      between((first, last) => quantile(first.samples, last.samples, name, q, labels)),
  };
}
