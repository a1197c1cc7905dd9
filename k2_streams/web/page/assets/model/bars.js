/** Bars of an answer as a chart takes them, and trades that arrive after it. */
import { msOfNs } from "../format.js";

/** Bars of one chart: the eye cannot distinguish more, and they are slow to draw. */
export const MAX_BARS = 2_000;
const UNIT_S = { s: 1, m: 60, h: 3600, d: 86400 };

/** Seconds of `15m` and the like. */
export const secondsOf = text => Number(text.slice(0, -1)) * UNIT_S[text.at(-1)];

/** Bars in the order of time; one without a trade has no prices. */
export const barsOf = rows =>
  rows.map(({ open, high, low, close, ...row }) => ({
    time: Math.round(Number(row.bar_start_ns) / 1e9),
    ...(open === null
      ? {}
      : { open: Number(open), high: Number(high), low: Number(low), close: Number(close) }),
    volume: Number(row.volume),
    trades: row.trade_count,
    missing: row.missing,
    complete: row.complete,
  }));

/** Digits after the point that the prices need, at most eight. */
export function digitsOf(prices) {
  const lengths = prices.filter(Boolean).map(text => (text.split(".")[1] ?? "").length);
  return Math.min(8, Math.max(0, ...lengths));
}

/** Take a trade into bars that stand on a grid without holes, and return the bars that changed, in
 *  order: the trade's own, and before it those that time has skipped. Null: the trade is too far
 *  ahead, so that the bars are to be asked for again. A trade before the first bar changes none.
 *  The node's next answer replaces what this makes: it knows the order of trades of one bar. */
export function fold(bars, row, intervalS) {
  const time = Math.floor(msOfNs(row.exchange_time_ns) / 1000 / intervalS) * intervalS;
  const last = bars.at(-1);
  if (last && time - last.time > MAX_BARS * intervalS) return null;
  const changed = [];
  for (let next = last ? last.time + intervalS : time; next <= time; next += intervalS) {
    const bar = { time: next, volume: 0, trades: 0, missing: 0, complete: true };
    bars.push(bar);
    changed.push(bar);
  }
  const bar = bars[Math.round((time - bars[0].time) / intervalS)];
  if (!bar) return [];
  const price = Number(row.price);
  bar.open ??= price;
  bar.high = Math.max(bar.high ?? price, price);
  bar.low = Math.min(bar.low ?? price, price);
  if (!row.late) bar.close = price;
  bar.close ??= price;
  bar.volume += Number(row.quantity);
  bar.trades += 1;
  bars.splice(0, bars.length - MAX_BARS);
  return changed.length ? changed : [bar];
}

/** Lengths of a bar of which a window has no more than a chart shows. */
export const intervalsFor = (intervals, window) =>
  intervals.filter(one => secondsOf(window) / secondsOf(one) <= MAX_BARS);
