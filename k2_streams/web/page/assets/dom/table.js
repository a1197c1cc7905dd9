/** Tables whose cells change in place: what is selected or scrolled stays. */
import { NONE, cell, count } from "../format.js";
import { h } from "./elements.js";
import { createPanel } from "./panel.js";

const NUMBER = /^-?\d+(\.\d+)?$/;

/** Columns of words, of numbers, and of long texts that are broken into lines. `read` is the name of a
 *  field, or gives a text, or `{ text, tone, title }`, of a row; `title` explains the heading. */
const column = (kind, write) => (name, read, title) => ({
  name,
  kind,
  title,
  read: typeof read === "string" ? row => write(row[read]) : read,
});
export const text = column("text", value => value);
export const number = column("number", count);
export const wide = column("wide", value => value);

/** Columns of rows as they are, by the names of their fields; numbers stand at the right. */
export const columnsOf = (names, rows, heading = name => name) =>
  names.map(name => {
    const isNumber = rows.every(row => row[name] === null || NUMBER.test(row[name]));
    return (isNumber ? number : text)(heading(name), row => cell(row[name]));
  });

/** `show(rows)` shows rows; without any the text is `empty`. Columns may be a function of the rows. */
export function createTable(label, columns, empty = "None.") {
  const head = h("tr"),
    body = h("tbody"),
    note = h("p.note", { hidden: true }, empty);
  const table = h("table", h("thead", head), body);
  const scroller = h("div.scroll", { tabindex: 0, role: "region", "aria-label": label }, table);
  let arranged = "";

  /** The heading of columns, where they are others than before. */
  function arrange(current) {
    const next = JSON.stringify(current);
    if (next === arranged) return;
    arranged = next;
    body.replaceChildren();
    head.replaceChildren(
      ...current.map(({ name, kind, title }) => h(`th.${kind}`, { scope: "col", title }, name)),
    );
  }
  return {
    node: h("div", scroller, note),
    show(rows) {
      const current = typeof columns === "function" ? columns(rows) : columns;
      arrange(current);
      while (body.rows.length > rows.length) body.deleteRow(-1);
      while (body.rows.length < rows.length)
        body.append(h("tr", current.map(({ kind }) => h(`td.${kind}`))));
      rows.forEach((row, at) =>
        current.forEach(({ read }, place) => setCell(body.rows[at].cells[place], read(row))),
      );
      scroller.hidden = rows.length === 0;
      note.hidden = rows.length > 0;
    },
  };
}

/** A panel of a table: `show(rows)` shows them, and it is ready. */
export function createTablePanel(title, columns, { empty, label = title, ...options } = {}) {
  const table = createTable(label, columns, empty);
  const panel = createPanel(title, table.node, options);
  return {
    ...panel,
    show(rows) {
      table.show(rows);
      panel.ready();
    },
  };
}

function setCell(place, shown) {
  const { text, tone = "", title = "" } =
    shown !== null && typeof shown === "object" ? shown : { text: shown };
  const value = text === null || text === undefined ? NONE : String(text);
  if (place.textContent !== value) place.textContent = value;
  if (place.dataset.tone !== tone) place.dataset.tone = tone;
  if (place.title !== title) place.title = title;
}
