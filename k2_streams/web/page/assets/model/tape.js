/** The newest rows of a symbol, the newest first; bounded. */
import { decimal } from "../format.js";
import { digitsOf } from "./bars.js";

export const MAX_TAPE = 200;

const placeOf = row => `${row.log_partition}:${row.log_offset}:${row.log_row}`;

/** Rows of an answer or a stream beside those that are there: each once, by its place in the log. */
export function merged(tape, rows) {
  const known = new Set(tape.map(placeOf));
  const fresh = rows.filter(row => !known.has(placeOf(row)));
  return [...fresh.reverse(), ...tape].slice(0, MAX_TAPE);
}

/** Rows with prices and quantities as a tape writes them. */
export function aligned(rows) {
  const prices = digitsOf(rows.map(row => row.price)),
    quantities = digitsOf(rows.map(row => row.quantity));
  return rows.map(row => ({
    ...row,
    price: decimal(row.price, prices),
    quantity: decimal(row.quantity, quantities),
  }));
}
