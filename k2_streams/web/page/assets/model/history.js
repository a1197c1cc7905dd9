/** The last scrapes, and what they say of the last minute. */
import { growth, quantile } from "./metrics.js";

/** At one scrape in five seconds: ten minutes of the lines beside the figures. */
export const MAX_SCRAPES = 120;
const WINDOW_S = 60;

/** Scrapes in the order of time, the oldest of which go first. */
export function createHistory(maxScrapes = MAX_SCRAPES) {
  const scrapes = [];
  /** The newest scrape at least a window old, else the oldest. */
  const before = () => {
    const newest = scrapes.at(-1);
    return scrapes.findLast(one => newest.timeS - one.timeS >= WINDOW_S) ?? scrapes[0];
  };
  const perSecond = (from, to, name, labels) => {
    const grown = growth(from.samples, to.samples, name, labels);
    return grown === null || to.timeS <= from.timeS ? null : grown / (to.timeS - from.timeS);
  };
  return {
    add(timeS, samples) {
      scrapes.push({ timeS, samples });
      scrapes.splice(0, scrapes.length - maxScrapes);
    },
    get newest() {
      return scrapes.at(-1)?.samples ?? null;
    },
    get windowS() {
      return scrapes.length < 2 ? 0 : scrapes.at(-1).timeS - before().timeS;
    },
    /** A counter's growth per second over the last minute, or over what is known. */
    rate: (name, labels) =>
      scrapes.length < 2 ? null : perSecond(before(), scrapes.at(-1), name, labels),
    /** The same between neighbouring scrapes, for a line. */
    rates: (name, labels) =>
      scrapes.slice(1).map((one, at) => perSecond(scrapes[at], one, name, labels)),
    quantile: (name, q, labels) =>
      scrapes.length < 2
        ? null
        : quantile(before().samples, scrapes.at(-1).samples, name, q, labels),
    /** What `read` makes of each scrape, for a line. */
    values: read => scrapes.map(one => read(one.samples)),
  };
}
