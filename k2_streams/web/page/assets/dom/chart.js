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

/** `show` replaces the bars, `update` changes some of them, `mark` what lies behind them. The colours
 *  follow the page's, light or dark. `onHover(bar or null)` is told the bar under the pointer. */
export function createPriceChart(container, { onHover = () => {} } = {}) {
  const chart = createChart(container, { autoSize: true, ...fixedOptions() });
  const prices = chart.addSeries(CandlestickSeries, {});
  const volumes = chart.addSeries(HistogramSeries, {
    priceScaleId: "volume",
    priceFormat: { type: "volume" },
    lastValueVisible: false,
    priceLineVisible: false,
  });
  chart.priceScale("volume").applyOptions({ scaleMargins: { top: 1 - VOLUME_SHARE, bottom: 0 } });
  prices.priceScale().applyOptions({ scaleMargins: { top: 0.1, bottom: VOLUME_SHARE + 0.06 } });
  const marks = new ChartMarks();
  prices.attachPrimitive(marks);
  const byTime = new Map();
  let lastTime = 0,
    colours = {},
    marked = { spans: [], levels: [], boundary: null };

  function paint() {
    colours = coloursOf(container);
    chart.applyOptions({
      layout: {
        background: { color: colours.surface },
        textColor: colours.dim,
        fontFamily: colours.font,
      },
      grid: { vertLines: { color: colours.grid }, horzLines: { color: colours.grid } },
      timeScale: { borderColor: colours.grid },
      rightPriceScale: { borderColor: colours.grid },
    });
    prices.applyOptions({
      upColor: colours.up,
      downColor: colours.down,
      borderVisible: false,
      wickUpColor: colours.up,
      wickDownColor: colours.down,
    });
    volumes.setData([...byTime.values()].map(volumeOf));
    marks.show(marked, colours);
  }
  const volumeOf = bar =>
    bar.open === undefined
      ? { time: bar.time }
      : {
          time: bar.time,
          value: bar.volume,
          color: bar.close >= bar.open ? colours.upSoft : colours.downSoft,
        };
  const priceOf = ({ time, open, high, low, close }) =>
    open === undefined ? { time } : { time, open, high, low, close };

  chart.subscribeCrosshairMove(({ time }) => onHover(byTime.get(time) ?? null));
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", paint);
  paint();
  return {
    show(bars, digits) {
      byTime.clear();
      for (const bar of bars) byTime.set(bar.time, bar);
      lastTime = bars.at(-1)?.time ?? 0;
      prices.applyOptions({
        priceFormat: { type: "price", precision: digits, minMove: 10 ** -digits },
      });
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
    mark(next) {
      marked = next;
      marks.show(marked, colours);
    },
    /** Shows the last so many bars. */
    fit(bars) {
      const edge = 1 + EDGE_SHARE * bars;
      chart.timeScale().setVisibleLogicalRange({ from: -edge, to: bars + edge });
    },
    remove() {
      scheme.removeEventListener("change", paint);
      chart.remove();
    },
  };
}

function fixedOptions() {
  return {
    layout: { attributionLogo: false, fontSize: 11 }, // its style element is against the policy: the link is at the foot
    localization: { timeFormatter: time => dateTime(time * 1000), locale: "en" },
    crosshair: { mode: 0 },
    timeScale: {
      timeVisible: true,
      secondsVisible: true,
      rightOffset: 3,
      tickMarkFormatter: (time, kind) =>
        kind < 3
          ? dateTime(time * 1000).slice(0, 10)
          : clock(time * 1000).slice(0, kind === 3 ? 5 : 8),
    },
    handleScale: { mouseWheel: true, pinch: true },
    handleScroll: { vertTouchDrag: false },
  };
}

/** The page's own colours, as they are now. */
function coloursOf(element) {
  const style = getComputedStyle(element),
    of = name => style.getPropertyValue(`--${name}`).trim();
  return {
    surface: of("surface"),
    dim: of("dim"),
    grid: of("grid"),
    up: of("up"),
    down: of("down"),
    upSoft: of("up-soft"),
    downSoft: of("down-soft"),
    spanFill: of("span-fill"),
    spanLine: of("span-line"),
    boundary: of("accent"),
    warn: of("warn"),
    bad: of("bad"),
    font: style.fontFamily,
  };
}

/** A bar in words, for the line above the chart and for a screen reader. */
export const barText = bar =>
  !bar
    ? ""
    : bar.open === undefined
      ? `${clock(bar.time * 1000)}  no trade${bar.complete ? "" : ", incomplete"}`
      : `${clock(bar.time * 1000)}  O ${bar.open}  H ${bar.high}  L ${bar.low}  C ${bar.close}  ` +
        `V ${bar.volume.toLocaleString("en", { maximumSignificantDigits: 6 })}  ${count(bar.trades)} trades` +
        (bar.complete ? "" : `  ${count(bar.missing)} missing`);
