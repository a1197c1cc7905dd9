/** The chart of prices: bars with their volume, over what is missing of them. */
import {
  CandlestickSeries,
  HistogramSeries,
  createChart,
} from "../vendor/lightweight-charts/lightweight-charts.js";
import { clock, count, dateTime } from "../format.js";
import { ChartMarks } from "./chart_marks.js";

const VOLUME_SHARE = 0.18;
/** Room at both edges, of all bars: the first label of the axis is not cut. */
const EDGE_SHARE = 0.05;
/** The page's own, light or dark. */
const COLOURS =
  "surface dim grid up down up-soft down-soft span-fill span-line accent warn bad".split(" ");

/** `show` replaces the bars, `update` changes some of them, `mark` what lies behind them, until the
 *  signal. `onHover(bar or undefined)` is told the bar under the pointer. */
export function createPriceChart(container, { signal, onHover }) {
  const chart = createChart(container, FIXED);
  const prices = chart.addSeries(CandlestickSeries, { borderVisible: false });
  const volumes = chart.addSeries(HistogramSeries, {
    priceScaleId: "volume",
    priceFormat: { type: "volume" },
    lastValueVisible: false,
    priceLineVisible: false,
  });
  volumes.priceScale().applyOptions({ scaleMargins: { top: 1 - VOLUME_SHARE, bottom: 0 } });
  prices.priceScale().applyOptions({ scaleMargins: { top: 0.1, bottom: VOLUME_SHARE + 0.06 } });
  const marks = new ChartMarks();
  prices.attachPrimitive(marks);
  const byTime = new Map();
  let lastTime = 0,
    colours = {};

  function paint() {
    const style = getComputedStyle(container);
    const valueOf = name => style.getPropertyValue(`--${name}`).trim();
    colours = Object.fromEntries(COLOURS.map(name => [name, valueOf(name)]));
    const { surface, dim, grid, up, down } = colours;
    chart.applyOptions({
      layout: { background: { color: surface }, textColor: dim, fontFamily: style.fontFamily },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      timeScale: { borderColor: grid },
      rightPriceScale: { borderColor: grid },
    });
    prices.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    volumes.setData([...byTime.values()].map(volumeOf));
    marks.paint(colours, style.fontFamily);
  }
  const volumeOf = ({ time, open, close, volume }) =>
    open === undefined
      ? { time }
      : { time, value: volume, color: colours[close >= open ? "up-soft" : "down-soft"] };
  const priceOf = ({ time, open, high, low, close }) =>
    open === undefined ? { time } : { time, open, high, low, close };

  chart.subscribeCrosshairMove(({ time }) => onHover(byTime.get(time)));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint, { signal });
  signal.addEventListener("abort", () => chart.remove());
  paint();
  return {
    show(bars, digits) {
      byTime.clear();
      for (const bar of bars) byTime.set(bar.time, bar);
      lastTime = bars.at(-1)?.time ?? 0;
      const priceFormat = { type: "price", precision: digits, minMove: 10 ** -digits };
      prices.applyOptions({ priceFormat });
      prices.setData(bars.map(priceOf));
      volumes.setData(bars.map(volumeOf));
    },
    update(bars) {
      for (const bar of bars) {
        const isHistory = bar.time < lastTime;
        lastTime = Math.max(lastTime, bar.time);
        byTime.set(bar.time, bar);
        prices.update(priceOf(bar), isHistory);
        volumes.update(volumeOf(bar), isHistory);
      }
    },
    mark: found => marks.show(found),
    /** Shows the last so many bars. */
    fit(bars) {
      const edge = 1 + EDGE_SHARE * bars;
      chart.timeScale().setVisibleLogicalRange({ from: -edge, to: bars + edge });
    },
  };
}

const FIXED = {
  autoSize: true,
  // The logo's style element is against the policy: the link is at the foot of the page.
  layout: { attributionLogo: false, fontSize: 11 },
  localization: { timeFormatter: time => dateTime(time * 1000), locale: "en" },
  crosshair: { mode: 0 },
  timeScale: {
    timeVisible: true,
    secondsVisible: true,
    rightOffset: 3,
    tickMarkFormatter(time, kind) {
      if (kind < 3) return dateTime(time * 1000).slice(0, 10);
      return clock(time * 1000).slice(0, kind === 3 ? 5 : 8);
    },
  },
  handleScroll: { vertTouchDrag: false },
};

/** A bar in words, for the line above the chart and for a screen reader. */
export function barText(bar) {
  if (!bar) return "";
  const { time, open, high, low, close, complete } = bar;
  const start = clock(time * 1000);
  if (open === undefined) return `${start}  no trade${complete ? "" : ", incomplete"}`;
  const trades = `${count(bar.trades)} trades`,
    volume = bar.volume.toLocaleString("en", { maximumSignificantDigits: 6 });
  return (
    `${start}  O ${open}  H ${high}  L ${low}  C ${close}  V ${volume}  ${trades}` +
    (complete ? "" : `  ${count(bar.missing)} missing`)
  );
}
