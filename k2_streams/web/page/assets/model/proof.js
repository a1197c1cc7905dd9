/** What a proof says, in words. */
import { count, plural } from "../format.js";

/** Why an answer is not known to be complete: what is missing, deferred or not yet known. */
export function reasonsOf(meta) {
  const gaps = (meta.gaps ?? []).filter(gap => gap.state !== "filled");
  const missing = gaps.reduce((sum, gap) => sum + numbersOf(gap), 0);
  return [
    gaps.length && `${plural(gaps.length, "gap")} with ${count(missing)} missing or abandoned`,
    meta.gaps_omitted && `${plural(meta.gaps_omitted, "more gap")} not listed`,
    meta.deferred > 0 && `${plural(meta.deferred, "record")} deferred`,
    meta.deferred === -1 && "records may have been deferred then",
    meta.gaps_complete === false && "gaps are not known as far as the rows",
    meta.dead_letters_complete === false && "dead letters are not all counted",
    meta.stalled && "an open transaction holds the log back",
  ].filter(Boolean);
}

/** Numbers of a gap that did not arrive. */
export const numbersOf = gap =>
  [...(gap.missing ?? []), ...(gap.abandoned ?? [])].reduce(
    (sum, [first, last]) => sum + Number(last) - Number(first) + 1,
    0,
  );

/** `4 to 7` or `5`. */
export const rangeOf = (first, last) => (first === last ? String(first) : `${first} to ${last}`);
