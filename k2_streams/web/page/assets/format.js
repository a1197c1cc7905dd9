/** How values are written: digits in columns of equal width, units behind, times in UTC. */
export const NONE = "\u2013";
const KIB = 1024,
  UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export const isKnown = value => value !== null && value !== undefined && value !== "";
/** An integer with separators; one that is too large for a number is text already. */
export const count = value =>
  !isKnown(value)
    ? NONE
    : typeof value === "number"
      ? Math.round(value).toLocaleString("en")
      : String(value);
/** A rate or a share of a count, with three digits that mean something. */
export const rate = value =>
  !isKnown(value) || Number.isNaN(value)
    ? NONE
    : value >= 100 || value === 0
      ? count(value)
      : value.toLocaleString("en", { maximumSignificantDigits: 3 });
export const perSecond = value => (isKnown(value) ? `${rate(value)} /s` : NONE);
export const percent = value =>
  !isKnown(value)
    ? NONE
    : `${(100 * value).toLocaleString("en", { maximumFractionDigits: value !== 0 && value < 0.01 ? 3 : 1 })} %`;
export function bytes(value) {
  if (!isKnown(value)) return NONE;
  const step =
    value > 0 ? Math.min(UNITS.length - 1, Math.floor(Math.log(value) / Math.log(KIB))) : 0;
  return `${(value / KIB ** step).toLocaleString("en", { maximumSignificantDigits: 3 })} ${UNITS[step]}`;
}
/** A length of time: `340 ms`, `12.5 s`, `3 min 20 s`, `5 h 2 min`, `3 d 4 h`. */
export function duration(seconds) {
  if (!isKnown(seconds) || Number.isNaN(seconds)) return NONE;
  if (seconds < 0.001) return seconds === 0 ? "0 s" : "< 1 ms";
  if (seconds < 1)
    return `${(1000 * seconds).toLocaleString("en", { maximumSignificantDigits: 3 })} ms`;
  if (seconds < 60) return `${seconds.toLocaleString("en", { maximumSignificantDigits: 3 })} s`;
  const of = (large, small, units) => {
    const rest = Math.floor((seconds % large) / small);
    return `${Math.floor(seconds / large)} ${units[0]}${rest ? ` ${rest} ${units[1]}` : ""}`;
  };
  if (seconds < 3600) return of(60, 1, ["min", "s"]);
  if (seconds < 86400) return of(3600, 60, ["h", "min"]);
  return of(86400, 3600, ["d", "h"]);
}
export const milliseconds = value => (isKnown(value) ? duration(value / 1000) : NONE);

/** Integer nanoseconds, as number or text, to milliseconds. */
export const msOfNs = ns => Number(BigInt(ns) / 1_000_000n);
const iso = ms => new Date(ms).toISOString();
/** `10:04:05` or, with `digits`, `10:04:05.123`. */
export const clock = (ms, digits = 0) =>
  !isKnown(ms) ? NONE : iso(ms).slice(11, digits ? 20 + digits : 19);
/** `2026-11-30 10:04:05`. */
export const dateTime = ms => (isKnown(ms) ? iso(ms).slice(0, 19).replace("T", " ") : NONE);
export const dateTimeOfNs = ns => (isKnown(ns) ? dateTime(msOfNs(ns)) : NONE);
/** An answer's time of day, with as many digits of the second as the eye can use. */
export const timeOfText = (text, digits = 3) =>
  isKnown(text) ? text.slice(11, 20 + digits) : NONE;
export const ago = seconds =>
  isKnown(seconds) ? `${duration(Math.max(0, Math.round(seconds)))} ago` : NONE;
/** The text of any value of a row. */
export const cell = value =>
  value === null || value === undefined
    ? NONE
    : typeof value === "object"
      ? JSON.stringify(value)
      : String(value);
/** A decimal with as many digits after the point as its neighbours, so that the points stand below each other. */
export function decimal(text, digits) {
  if (!isKnown(text)) return NONE;
  const [whole, part = ""] = String(text).split(".");
  return digits > part.length ? `${whole}.${part.padEnd(digits, "0")}` : text;
}
/** A column's name as words. */
export const words = name => name.replaceAll("_", " ");
export const plural = (number, one, many = `${one}s`) =>
  `${count(number)} ${number === 1 ? one : many}`;
