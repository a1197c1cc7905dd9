/** What the page takes from a scrape of `/metrics`, and what two of them say together. */

const SAMPLE = /^(k2_\w+)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

const unescaped = text =>
  text.replace(/\\(.)/g, (_all, letter) => (letter === "n" ? "\n" : letter));

/** Samples of K2's own metrics: `Map(name -> [{labels, value}])`. */
export function parseMetrics(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = line.match(SAMPLE) ?? [];
    if (!name) continue;
    if (!found.has(name)) found.set(name, []);
    const pairs = [...labels.matchAll(LABEL)].map(([, key, of]) => [key, unescaped(of)]);
    found.get(name).push({
      labels: Object.fromEntries(pairs),
      value: Number(value.replace("Inf", "Infinity")),
    });
  }
  return found;
}

const fits = (labels, wanted) =>
  Object.entries(wanted).every(([key, value]) => labels[key] === value);
/** The samples of a metric whose labels are these. */
const samplesOf = (scrape, name, labels = {}) =>
  (scrape.get(name) ?? []).filter(one => fits(one.labels, labels));

/** The sum of a metric; null: there is no such series. */
export function total(scrape, name, labels = {}) {
  const found = samplesOf(scrape, name, labels);
  return found.length ? found.reduce((sum, one) => sum + one.value, 0) : null;
}

/** The largest value of a metric; null: there is no such series. */
export function largest(scrape, name, labels = {}) {
  const found = samplesOf(scrape, name, labels);
  return found.length ? Math.max(...found.map(one => one.value)) : null;
}

/** How much a counter grew between two scrapes; a worker that started anew counts from 0. */
export function growth(before, after, name, labels = {}) {
  const was = total(before, name, labels),
    is = total(after, name, labels);
  if (was === null || is === null) return null;
  return is >= was ? is - was : is;
}

/** A quantile of a histogram's growth between two scrapes, as Prometheus interpolates it.
 *  Null: nothing was observed in between. */
export function quantile(before, after, name, q, labels = {}) {
  const bounds = new Map();
  for (const [scrape, sign] of [
    [after, 1],
    [before, -1],
  ])
    for (const { labels: of, value } of samplesOf(scrape, `${name}_bucket`, labels)) {
      const bound = of.le === "+Inf" ? Infinity : Number(of.le);
      bounds.set(bound, (bounds.get(bound) ?? 0) + sign * value);
    }
  const buckets = [...bounds].sort(([a], [b]) => a - b);
  const all = buckets.at(-1)?.[1] ?? 0;
  if (all <= 0) return null;
  const rank = q * all;
  let below = 0,
    lower = 0;
  for (const [bound, upTo] of buckets) {
    if (upTo >= rank) {
      if (bound === Infinity) return lower;
      return lower + (bound - lower) * (upTo > below ? (rank - below) / (upTo - below) : 1);
    }
    [below, lower] = [upTo, bound];
  }
  return lower;
}
