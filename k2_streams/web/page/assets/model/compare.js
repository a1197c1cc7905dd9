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
  const add = difference => {
    if (result.differences.length < MAX_DIFFERENCES) result.differences.push(difference);
  };
  for (const [key, row] of before) {
    const other = after.get(key);
    if (!other) {
      result.onlyA += 1;
      add({ key, what: "only A", column: "", a: row, b: null });
      continue;
    }
    const unequal = columns.filter(
      name => JSON.stringify(row[name]) !== JSON.stringify(other[name]),
    );
    result[unequal.length ? "changed" : "same"] += 1;
    for (const name of unequal)
      add({ key, what: "changed", column: name, a: row[name], b: other[name] });
  }
  for (const [key, row] of after)
    if (!before.has(key)) {
      result.onlyB += 1;
      add({ key, what: "only B", column: "", a: null, b: row });
    }
  return result;
}

/** The parameters that ask at a read point: `{ kind: "now" | "snapshot" | "tag" | "known" | "token", value }`. */
export function pointParameters({ kind, value }) {
  if (kind === "now" || !value) return {};
  if (kind === "known") return { known_at: value };
  return { as_of: kind === "tag" ? `tag:${value}` : value };
}
