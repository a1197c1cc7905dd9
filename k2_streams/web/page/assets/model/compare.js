/** Two answers to one question at two read points: what differs. */

/** More differences than these are counted, not listed. */
export const MAX_DIFFERENCES = 500;

/** Compare rows by their key.
 *  Returns how many are the same, and per difference `{ key, what, column, a, b }`: `what` is
 *  `only A`, `only B` or `changed`. */
export function compare(rowsA, rowsB, keyOf, columns) {
  const before = new Map(rowsA.map(row => [keyOf(row), row])),
    after = new Map(rowsB.map(row => [keyOf(row), row]));
  const result = { same: 0, onlyA: 0, onlyB: 0, changed: 0, differences: [] };
  function add(key, what, column, a, b) {
    if (result.differences.length < MAX_DIFFERENCES)
      result.differences.push({ key, what, column, a, b });
  }
  const isSame = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  for (const [key, a] of before) {
    const b = after.get(key);
    if (!b) {
      result.onlyA += 1;
      add(key, "only A", "", a, null);
      continue;
    }
    const unequal = columns.filter(name => !isSame(a[name], b[name]));
    result[unequal.length ? "changed" : "same"] += 1;
    for (const name of unequal) add(key, "changed", name, a[name], b[name]);
  }
  for (const [key, b] of after)
    if (!before.has(key)) {
      result.onlyB += 1;
      add(key, "only B", "", null, b);
    }
  return result;
}

/** The parameters that ask at a read point: `{ kind: "now" | "snapshot" | "tag" | "known" | "token", value }`. */
export function pointParameters({ kind, value }) {
  if (kind === "now" || !value) return {};
  if (kind === "known") return { known_at: value };
  return { as_of: kind === "tag" ? `tag:${value}` : value };
}
