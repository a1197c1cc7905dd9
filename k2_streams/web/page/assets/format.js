/** How values are written: digits in columns of equal width, units behind, times in UTC. */
export const NONE = "\u2013";
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export const isKnown = value => value !== null && value !== undefined && value !== "";
/** What writes a value that is known; any other is a dash. */
const known = write => value => (isKnown(value) && !Number.isNaN(value) ? write(value) : NONE);
/** Three digits that mean something. */
const short = value => value.toLocaleString("en", { maximumSignificantDigits: 3 });

/** An integer with separators; one that is too large for a number is text already. */
export const count = known(value =>
  typeof value === "number" ? Math.round(value).toLocaleString("en") : String(value),
);
export const rate = known(value => (value >= 100 || value === 0 ? count(value) : short(value)));
export const perSecond = known(value => `${rate(value)} /s`);
export const percent = known(value => {
  const maximumFractionDigits = value !== 0 && value < 0.01 ? 3 : 1;
  return `${(100 * value).toLocaleString("en", { maximumFractionDigits })} %`;
});
export const bytes = known(value => {
  const step = value > 0 ? Math.floor(Math.log2(value) / 10) : 0;
  const unit = Math.min(UNITS.length - 1, step);
  return `${short(value / 1024 ** unit)} ${UNITS[unit]}`;
});
/** A length of time: `340 ms`, `12.5 s`, `3 min 20 s`, `5 h 2 min`, `3 d 4 h`. */
export const duration = known(seconds => {
  if (seconds < 0.001) return seconds === 0 ? "0 s" : "< 1 ms";
  if (seconds < 1) return `${short(1000 * seconds)} ms`;
  if (seconds < 60) return `${short(seconds)} s`;
  const [large, unit, small, smallUnit] =
    seconds < 3600
      ? [60, "min", 1, "s"]
      : seconds < 86400 ? [3600, "h", 60, "min"] : [86400, "d", 3600, "h"];
  const rest = Math.floor((seconds % large) / small);
  return `${Math.floor(seconds / large)} ${unit}${rest ? ` ${rest} ${smallUnit}` : ""}`;
});
export const milliseconds = known(value => duration(value / 1000));
export const ago = known(seconds => `${duration(Math.max(0, Math.round(seconds)))} ago`);

/** Integer nanoseconds, as number or text, to milliseconds. */
export const msOfNs = ns => Number(BigInt(ns) / 1_000_000n);
const iso = ms => new Date(ms).toISOString();
/** `10:04:05`, and `10:04:05.123`. */
export const clock = known(ms => iso(ms).slice(11, 19));
export const clockMs = known(ms => iso(ms).slice(11, 23));
/** `2026-11-30 10:04:05`. */
export const dateTime = known(ms => iso(ms).slice(0, 19).replace("T", " "));
export const dateTimeOfNs = known(ns => dateTime(msOfNs(ns)));
/** An answer's time of day, with as many digits of the second as the eye can use. */
export const timeOfText = known(text => text.slice(11, 23));
/** The text of any value of a row. */
export const cell = value =>
  value === null || value === undefined
    ? NONE
    : typeof value === "object" ? JSON.stringify(value) : String(value);
/** A decimal with as many digits after the point as its neighbours: the points stand below each other. */
export function decimal(text, digits) {
  if (!isKnown(text)) return NONE;
  const [whole, part = ""] = String(text).split(".");
  return digits > part.length ? `${whole}.${part.padEnd(digits, "0")}` : text;
}
/** A column's name as words. */
export const words = name => name.replaceAll("_", " ");
export const plural = (number, one, many = `${one}s`) =>
  `${count(number)} ${number === 1 ? one : many}`;
